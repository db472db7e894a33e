"""The services about mailings: their state and lists, and the closed-loop rows of those that were sent."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from campaign_sync.optimizely.row_reader import RowList
from campaign_sync.optimizely.session import Session

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Mailings:
    """Read access to the mandator's mailings: their status, schedule and recipient lists."""

    def __init__(self, session: Session):
        self._session = session

    def ids_in_status(self, mailing_type: str, status: str) -> list[int]:
        """Return the ids of all mailings of a type in a status.

        Args:
            mailing_type: `regular`, `event`, `confirmation`, `template`, `campaign` or `split`.
            status: `NEW`, `SENDING`, `DONE` or `CANCELED`. Another page of the vendor's documents also has `PAUSED`.
        """
        return list(self._session.call("Mailing", "getIdsInStatus", mailing_type, status))

    def recipient_list_ids(self, mailing_id: int) -> frozenset[int]:
        """Return the ids of the recipient lists of a mailing."""
        return frozenset(self._session.call("Mailing", "getRecipientListIds", mailing_id))

    def schedule_date(self, mailing_id: int) -> datetime | None:
        """Return when a mailing is scheduled, in UTC; None if it isn't."""
        moment: datetime | None = self._session.call("Mailing", "getScheduleDate", mailing_id)
        if moment is None:
            return None
        # Axis writes times in UTC with their zone; one without a zone is taken as UTC.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def name(self, mailing_id: int) -> str:
        """Return the mailing's name as shown in Campaign."""
        return str(self._session.call("Mailing", "getName", mailing_id) or "")


class ClosedLoopReader(StrEnum):
    """The readers of the closed-loop interface, by the name of their operation."""

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
    """The closed-loop interface: rows of the vendor's export files about mailings."""

    def __init__(self, session: Session):
        self._session = session

    def current_time(self) -> datetime:
        """Return the vendor's clock, in UTC. `since` and `until` of `read` refer to it."""
        return _EPOCH + int(self._session.call("ClosedLoop", "getCurrentTime")) * _MILLISECOND

    def read(
        self, reader: ClosedLoopReader, since: datetime, until: datetime, start: int, size: int
    ) -> list[list[str | None]]:
        """Return rows of the export files written between `since` and `until`.

        The time is that of the file, not of the event. Columns and header depend on the customer's agreement.

        Args:
            reader: which rows.
            since: the beginning of the window, with a time zone.
            until: the end of the window, with a time zone.
            start: the position of the first row within the window, from 0.
            size: the most rows to return, at most `MAX_ROWS`. Fewer mean that the window ends there.
        """
        arguments = ((since - _EPOCH) // _MILLISECOND, (until - _EPOCH) // _MILLISECOND, start, size)
        return self._session.read("ClosedLoop", reader.value, *arguments, rows_asked_for=size, new_sink=RowList).rows
