"""The examples in the docstrings of cache/ run, and give what they say, in a folder with a small cache."""

import doctest
import importlib
import pkgutil

import pytest

import cache
from cache import LogmelSpecification, MfccSpecification, RawSpecification

MODULES = [
    module.name for module in pkgutil.walk_packages(cache.__path__, "cache.") if "__main__" not in module.name
]


def _examples():
    for name in MODULES:
        yield from (test for test in doctest.DocTestFinder().find(importlib.import_module(name)) if test.examples)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset, noise):
    """A folder whose work/cache has 12 training clips of three labels and 4 test clips, each of a second."""
    from featurize.datasets import read_dataset
    from featurize.run import run
    from featurize.settings import Options

    folder = tmp_path_factory.mktemp("folder")
    train, test = (
        {f"{name} {i:02}.wav": noise(1, seed=i) for i in range(n)} for name, n in (("clip", 12), ("test", 4))
    )
    data = read_dataset(
        cache.storage.open_storage(write_dataset(folder / "data", train, test, ("Bell", "Drum", "Rain")))
    )
    specifications = RawSpecification(), MfccSpecification(), LogmelSpecification()
    run(data, cache.storage.open_storage(folder / "work" / "cache"), specifications, Options())
    return folder


@pytest.mark.parametrize("example", list(_examples()), ids=lambda example: example.name)
def test_example_runs(example, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0
