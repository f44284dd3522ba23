"""A page of the delivery log, parsed entry by entry.

Parsed as a whole, a page of 8 MiB could take hundreds of MiB, and keep the event loop for as long.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

# Of one entry: a delivery of the largest size and the response to it fit several times.
MOST_ENTRY_CHARS = 256 * 1024

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class DeliveryLogUnavailable(Exception):
    """The delivery log of a webhook cannot be read. The message says why and what to do."""


class Page:
    """The entries of a page: iterate over it once. Then `next_link` has the URL of the next page.

    The iteration raises DeliveryLogUnavailable.
    """

    def __init__(self, body: bytes) -> None:
        self.next_link: str | None = None
        self._text = _Text(body.decode("utf-8-sig", errors="replace"))

    def __iter__(self) -> Iterator[Any]:
        text, is_list = self._text, False
        text.require("{")
        while not text.skips("}"):
            name = text.value()
            text.require(":")
            if name == "value":
                is_list = True
                yield from self._entries()
            elif name == "nextLink":
                self._follow(text.value())
            else:
                text.value()
            if not text.skips(","):
                text.require("}")
                break
        if not is_list:
            raise _unreadable("it has no list `value`")

    def _entries(self) -> Iterator[Any]:
        text = self._text
        text.require("[")
        while not text.skips("]"):
            yield text.value()
            if not text.skips(","):
                text.require("]")
                break

    def _follow(self, link: Any) -> None:
        if link is not None and not isinstance(link, str):
            raise _unreadable("its `nextLink` is no URL")
        # Some Azure services write an empty link on the last page.
        self.next_link = link or None


class _Text:
    """JSON text that is read from its beginning, through a window: no value is parsed beyond it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._start = 0
        self._window = text[: 2 * MOST_ENTRY_CHARS]
        self._at = 0

    def value(self) -> Any:
        """The next value."""
        self._next()
        try:
            value, self._at = _DECODER.raw_decode(self._window, self._at)
        except (ValueError, RecursionError):
            where = f"at character {self._start + self._at}"
            size = f"{MOST_ENTRY_CHARS:,} characters"
            raise _unreadable(f"{where} is no JSON value of at most {size}") from None
        return value

    def skips(self, sign: str) -> bool:
        """Whether the next character is `sign`. It is behind us then."""
        found = self._next() == sign
        self._at += found
        return found

    def require(self, sign: str) -> None:
        """Skips `sign`."""
        if not self.skips(sign):
            raise _unreadable(f"at character {self._start + self._at} is no {sign}")

    def _next(self) -> str:
        """The next character that is no space, moved to the first half of the window."""
        while True:
            space = _SPACE.match(self._window, self._at)
            self._at = space.end() if space else self._at
            if self._at <= MOST_ENTRY_CHARS:
                return self._window[self._at : self._at + 1]
            self._start += self._at
            self._at = 0
            self._window = self._text[self._start : self._start + 2 * MOST_ENTRY_CHARS]


def _unreadable(why: str) -> DeliveryLogUnavailable:
    return DeliveryLogUnavailable(
        f"the response cannot be read: {why}. Check what responds at AcrManagement__endpoint"
    )
