"""The examples in the docstrings of report/ run, and give what they say."""

import doctest
import importlib
import pkgutil

import pytest
from matplotlib import pyplot

import report

MODULES = [
    module.name for module in pkgutil.walk_packages(report.__path__, "report.") if "__main__" not in module.name
]


def _examples():
    for name in MODULES:
        yield from (test for test in doctest.DocTestFinder().find(importlib.import_module(name)) if test.examples)


@pytest.mark.parametrize("example", list(_examples()), ids=lambda example: example.name)
def test_example_runs(example):
    pyplot.switch_backend("agg")
    pyplot.close("all")
    try:
        assert doctest.DocTestRunner().run(example).failed == 0
    finally:
        pyplot.close("all")
