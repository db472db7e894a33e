"""Mailings: those that are there, and what has become of those that were sent."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from campaign_sync.optimizely.row_reader import Listed
from campaign_sync.optimizely.session import Session

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Mailings:
    """The mandator's mailings, only to look at: which there are, when they are sent, and to whom."""

    def __init__(self, session: Session):
        self._session = session

    def ids_in_status(self, mailing_type: str, status: str) -> list[int]:
        """The ids of all mailings of a type in a status.

        Args:
            mailing_type: `regular`, `event`, `confirmation`, `template`, `campaign` or `split`.
            status: `NEW`, `SENDING`, `DONE` or `CANCELED`. The vendor's documents also know `PAUSED`, elsewhere.
        """
        return list(self._session.call("Mailing", "getIdsInStatus", mailing_type, status))

    def recipient_list_ids(self, mailing_id: int) -> frozenset[int]:
        """The ids of the recipient lists that a mailing goes to."""
        return frozenset(self._session.call("Mailing", "getRecipientListIds", mailing_id))

    def schedule_date(self, mailing_id: int) -> datetime | None:
        """When a mailing is to be sent, in UTC; None if that isn't set."""
        moment: datetime | None = self._session.call("Mailing", "getScheduleDate", mailing_id)
        if moment is None:
            return None
        # Axis writes UTC and says so. Should a time come without its zone, UTC is what it was meant in.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def name(self, mailing_id: int) -> str:
        """The mailing's name, as people see it in Campaign."""
        return str(self._session.call("Mailing", "getName", mailing_id) or "")


class Reader(StrEnum):
    """What the closed-loop interface can be asked for; each is the name of its operation."""

    OUT_BOUNCES = "getOutBounces"
    UNSUBSCRIBES = "getUnsubscribes"
    MAILING_UNSUBSCRIBES = "getMailingUnsubscribes"
    RESPONSES = "getResponses"
    OPENS = "getOpens"
    CLICKS = "getClicks"
    LINKS = "getLinks"
    MAILINGS = "getMailings"
    RECIPIENTS = "getRecipients"


class ClosedLoop:
    """What has happened to mailings, as the vendor's export files hold it."""

    def __init__(self, session: Session):
        self._session = session

    def current_time(self) -> datetime:
        """The vendor's clock, in UTC: the one that `since` and `until` are about."""
        return _EPOCH + int(self._session.call("ClosedLoop", "getCurrentTime")) * _MILLISECOND

    def read(self, reader: Reader, since: datetime, until: datetime, start: int, size: int) -> list[list[str | None]]:
        """Rows of the export files that were written between `since` and `until`, both with a time zone.

        The time is the file's, not the event's. Columns and header are between vendor and customer.

        Args:
            reader: what to read.
            since: the window's beginning.
            until: the window's end.
            start: the position of the first row in the window, from 0.
            size: the most rows to return, at most `MAX_ROWS`. Fewer mean that the window ends there.
        """
        arguments = ((since - _EPOCH) // _MILLISECOND, (until - _EPOCH) // _MILLISECOND, start, size)
        return self._session.read("ClosedLoop", reader.value, *arguments, rows_asked_for=size, new_sink=Listed).rows
