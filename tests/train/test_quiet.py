import os

import pytest

from train.quiet import holding_back_stderr


def test_lines_are_held_back_and_then_come_through_again(capfd):
    with holding_back_stderr():
        os.write(2, b"chatter\n")
    os.write(2, b"wanted\n")
    assert capfd.readouterr().err == "wanted\n"


def test_lines_are_shown_when_the_block_fails(capfd):
    with pytest.raises(ImportError), holding_back_stderr():
        os.write(2, b"the cause\n")
        raise ImportError
    assert capfd.readouterr().err == "the cause\n"
