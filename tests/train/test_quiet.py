import gc
import os

import pytest

from train.quiet import holding_back_stderr, not_collecting


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


@pytest.fixture
def thawed():
    yield
    gc.unfreeze()


def test_garbage_is_not_collected_meanwhile_and_what_is_there_never_gone_through_again(thawed):
    with not_collecting():
        assert not gc.isenabled()
        kept = [[]]
    assert gc.isenabled()
    assert not any(kept is tracked for tracked in gc.get_objects())


def test_garbage_is_collected_again_after_an_import_that_fails(thawed):
    with pytest.raises(ImportError), not_collecting():
        raise ImportError
    assert gc.isenabled()
