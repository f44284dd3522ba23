import hashlib

from shared.recoveries import TABLE, row


def test_rows_of_the_ledger_stay() -> None:
    """The table and the keys of its rows are stored: another would recover everything again."""
    assert TABLE == "acrrecovered"
    assert row("webhook", "/a\ud800") == hashlib.sha256(b"webhook /a\\ud800").hexdigest()
    digest = "8591087f20ee43ab351638843c060392db28fcb72eeb630134795ff4c684dea0"
    assert row("event", "x") == digest
