"""The watch on a file that a program has loaded."""

from pathlib import Path

from tools.changed_file import ChangedFile


def test_change_is_noticed_once(tmp_path: Path) -> None:
    """Each new content is noticed once, and the loaded content is no change."""
    file = tmp_path / "routes.json"
    file.write_text("one")
    watched = ChangedFile(file)
    assert not watched.has_changed()
    file.write_text("two")
    assert [watched.has_changed(), watched.has_changed()] == [True, False]
    file.write_text("one")
    assert not watched.has_changed()
    file.write_text("two")
    assert watched.has_changed()


def test_absent_file_is_no_change(tmp_path: Path) -> None:
    """A file that is absent for a moment, as while an editor replaces it, is no change."""
    file = tmp_path / "routes.json"
    file.write_text("one")
    watched = ChangedFile(file)
    file.unlink()
    assert not watched.has_changed()
    file.write_text("one")
    assert not watched.has_changed()
    file.write_text("two")
    assert watched.has_changed()
