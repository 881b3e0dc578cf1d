import threading

import pytest
from filelock import FileLock

from ensemble.errors import PredictionsError
from ensemble.locks import held, holding


def test_a_fold_is_held_by_one_at_a_time(tmp_path):
    message = r"fold 2 must be trained by one process, got a second one; wait for the other to end, or choose"
    with holding(tmp_path, 2), pytest.raises(PredictionsError, match=message), holding(tmp_path, 2):
        pass
    with holding(tmp_path, 2), holding(tmp_path, 3):
        pass


def test_a_fold_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble.locks._LEAST_WAIT_S", 0)
    lock = FileLock(tmp_path / ".fold_0.lock", thread_local=False)
    lock.acquire()
    with pytest.raises(PredictionsError), holding(tmp_path, 0):
        pass
    threading.Timer(0.2, lock.release).start()
    with holding(tmp_path, 0, wait_s=60):
        assert not lock.is_locked


def test_the_folds_at_work_are_named(tmp_path):
    with holding(tmp_path, 10), holding(tmp_path, 9):
        with holding(tmp_path, 1):
            pass
        assert held(tmp_path) == [9, 10]
    assert held(tmp_path) == []


def test_looking_leaves_the_folds_free(tmp_path):
    with holding(tmp_path, 0):
        held(tmp_path)
    held(tmp_path)
    with holding(tmp_path, 0):
        assert held(tmp_path) == [0]
