"""RFC 3339 timestamps."""

import re
from datetime import datetime, timedelta
from functools import lru_cache

# .NET reads at most this many; the registry writes 7 or 9 (seen in samples of the reference).
# https://learn.microsoft.com/dotnet/standard/base-types/custom-date-and-time-format-strings
# https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
FRACTION_DIGITS = 7

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)


@lru_cache(maxsize=1)  # called twice for each delivery: by validation, then by normalization
def to_utc(text: str) -> str:
    """The same instant in UTC, with `Z` and at most 7 fraction digits (cut, never rounded up).

    Raises ValueError where `text` is no RFC 3339 timestamp or its instant lies outside the years
    1 to 9999 in UTC. Leap seconds (:60) are refused: .NET consumers cannot read them (measured).
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 timestamp")
    date, time, fraction, sign, hours, minutes = match.groups()
    instant = datetime.fromisoformat(f"{date}T{time}")
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        try:
            instant = instant - offset if sign == "+" else instant + offset
        except OverflowError:
            raise ValueError("outside the years 1 to 9999 in UTC") from None
    fraction = f".{fraction[:FRACTION_DIGITS]}" if fraction else ""
    return f"{instant.isoformat()}{fraction}Z"


def utc_timestamp(instant: datetime) -> str:
    """`instant`, which is in UTC, as an RFC 3339 timestamp."""
    return instant.isoformat().replace("+00:00", "Z")
