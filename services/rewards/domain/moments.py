"""Between the ledger's milliseconds and everybody else's dates."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def millis(at: datetime) -> int:
    """Milliseconds since 1970."""
    return (at - _EPOCH) // _MILLISECOND


def moment(at: int) -> datetime:
    """The reverse of `millis`."""
    return _EPOCH + at * _MILLISECOND
