"""The examples in the docstrings of the layouts run, and give what they say."""

import doctest

from featurize.datasets import folders


def test_examples_run():
    assert doctest.testmod(folders).attempted > 0 and doctest.testmod(folders).failed == 0
