import pytest

from cache.compaction.switch import finish_switch, is_switching, switching


def _names(folder) -> dict:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path):
    """A folder with a file, and a folder of files, of the old form."""
    (tmp_path / "store").mkdir()
    for name in ("table", "store/a", "store/b", "writer.lock"):
        (tmp_path / name).write_text("old")
    return tmp_path


def _build(folder) -> None:
    (folder / "store").mkdir()
    for name in ("table", "store/a", "store/c"):
        (folder / name).write_text("new")


NEW = {"table": "new", "store/a": "new", "store/c": "new", "writer.lock": "old"}


def test_the_new_form_takes_the_place_of_the_old(old):
    with switching(old) as built:
        _build(built)
        assert not is_switching(old)
    assert _names(old) == NEW and not is_switching(old)


def test_what_fails_leaves_the_old_form(old):
    before = _names(old)
    with pytest.raises(ZeroDivisionError), switching(old) as built:
        _build(built)
        raise ZeroDivisionError
    assert _names(old) == before


def test_what_a_killed_build_left_is_replaced(old):
    (old / "compact.partial").mkdir()
    (old / "compact.partial" / "junk").write_text("junk")
    with switching(old) as built:
        _build(built)
    assert _names(old) == NEW


@pytest.mark.parametrize("step", range(3))
def test_a_switch_goes_on_where_it_broke_off(old, step):
    done = old / "compact.done"
    done.mkdir()
    _build(done)
    if step >= 1:
        (old / "store").rename(old / "store.partial")
    if step >= 2:
        (done / "store").rename(old / "store")
    assert is_switching(old)
    finish_switch(old)
    left = {name: text for name, text in _names(old).items() if ".partial" not in name}
    assert left == NEW and not is_switching(old)
