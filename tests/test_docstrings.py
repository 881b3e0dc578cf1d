"""Every example in a docstring runs and gives what it says, in a folder with a small cache."""

import doctest
import importlib
import pkgutil

import pytest
from matplotlib import pyplot

from cache import LogmelSpecification, MfccSpecification, RawSpecification
from cache.storage import open_storage
from featurize.datasets import read_dataset
from featurize.run import run
from featurize.settings import Options

PACKAGES = ("cache", "common", "ensemble", "featurize", "report", "tag", "train")


def _examples():
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" not in module.name:
                found = doctest.DocTestFinder().find(importlib.import_module(module.name))
                yield from (test for test in found if test.examples)


EXAMPLES = list(_examples())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset, noise):
    """A folder whose work/cache has 12 training clips of three labels and 4 test clips, each of a second."""
    folder = tmp_path_factory.mktemp("folder")
    train, test = (
        {f"{name} {i:02}.wav": noise(1, seed=i) for i in range(n)} for name, n in (("clip", 12), ("test", 4))
    )
    data = read_dataset(open_storage(write_dataset(folder / "data", train, test, ("Bell", "Drum", "Rain"))))
    specifications = RawSpecification(), MfccSpecification(), LogmelSpecification()
    run(data, open_storage(folder / "work" / "cache"), specifications, Options())
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_example_runs(example, folder, monkeypatch):
    monkeypatch.chdir(folder)
    pyplot.switch_backend("agg")
    pyplot.close("all")
    try:
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0
    finally:
        pyplot.close("all")


def test_every_package_has_examples():
    assert {example.name.partition(".")[0] for example in EXAMPLES} == {*PACKAGES}
