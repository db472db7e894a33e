"""The values of a copy: text as the CRM has it, all other kinds as text."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

from campaign_sync.crm.port import CrmError
from campaign_sync.domain.text import vendor_text

Stored = str | bytes | None

_TEXT = frozenset({str, type(None)})


def stored_texts(values: Sequence[object], place: str) -> Sequence[Stored]:
    """Return the values of a column as they are stored: text, or bytes where they aren't UTF-8.

    Raises:
        CrmError: a value is of a kind that has no text form; the message names `place`.
    """
    return _stored(values, place, _text)


def stored_times(values: Sequence[object], place: str) -> Sequence[Stored]:
    """Return the times of a column as ISO 8601 in UTC; text stays as the CRM has it. See `stored_texts`."""
    return _stored(values, place, _time)


def _stored(values: Sequence[object], place: str, convert: Callable[[object], Stored]) -> Sequence[Stored]:
    if set(map(type, values)) <= _TEXT and _is_unicode(values):
        return values  # type: ignore[return-value]
    try:
        return [convert(value) for value in values]
    except TypeError as error:
        raise CrmError(f"{place}: {error}; give it as text, a number, a truth value, a date or a time") from None


def _is_unicode(values: Sequence[object]) -> bool:
    try:
        "".join(filter(None, values)).encode()  # type: ignore[arg-type]
    except UnicodeEncodeError:
        return False
    return True


def _text(value: object) -> Stored:
    try:
        text = vendor_text(value)
        if text is not None:
            text.encode()
    except UnicodeDecodeError:
        return value if isinstance(value, bytes) else None
    except UnicodeEncodeError:  # half of a pair of surrogates, as JSON can hold it
        return str(value).encode(errors="surrogatepass")
    return text


def _time(value: object) -> Stored:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else _text(value)
