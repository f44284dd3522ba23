"""Notices that a file has another content than a program has loaded."""

from pathlib import Path


class ChangedFile:
    """A file, and its content at the time of loading."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: bytes | None = None
        self._loaded = self._seen = self._content()

    def has_changed(self) -> bool:
        """Whether it has changed since the last call, and is not as it was loaded."""
        before, self._seen = self._seen, self._content()
        return self._seen not in (before, self._loaded)

    def _content(self) -> bytes | None:
        try:
            return self._file.read_bytes()
        except OSError:
            # An editor may be replacing the file.
            return self._seen
