"""A CRM that is copied: `Crm` on a `Source`."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from campaign_sync.config.crm import CrmSettings
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.mirror.base import Base
from campaign_sync.crm.mirror.open_copy import CopiedSnapshot, Copies
from campaign_sync.crm.mirror.source import Source
from campaign_sync.crm.mirror.write_back import FeedbackWriter
from campaign_sync.crm.port import OnWritten, RecordedResponses, WriteBack, ignore_written
from campaign_sync.domain.feedback import Bounce, Unsubscribe
from campaign_sync.domain.response import Response


class MirrorCrm:
    """Implements `Crm` on a copy of the CRM, and on its source for everything that is written.

    Args:
        source: the CRM.
        settings: the section `crm`.
        context: what the lists need, the memory, and where copies are stored.
        place: which CRM the source reads, such as a host and a database, without secrets. Copies of another place
            aren't used.
    """

    def __init__(self, source: Source, settings: CrmSettings, context: CrmContext, place: str) -> None:
        self._source, self._memory, self._words = source, context.memory, settings.consent_kinds.words
        identity = f"{place}\n{settings.model_dump_json()}"  # secrets are masked in it
        configuration = hashlib.sha256(identity.encode()).hexdigest()
        base = Base(source, context.needs, configuration, context.folder)
        self._max_age = settings.people_max_age
        self._copies = Copies(base, self._words, tuple(settings.configured_opt_ins()), context.memory)

    def check(self, *, exports: bool = False) -> None:
        """Raise an error unless the CRM can be reached and everything configured exists. See `Crm.check`."""
        self._source.check(exports=exports)

    def limits_left(self) -> str | None:
        """Return what the CRM still takes from its user. See `Crm.limits_left`."""
        return self._source.limits_left()

    @contextmanager
    def snapshot(self, opt_in_ids: Collection[str] | None = None) -> Iterator[CopiedSnapshot]:
        """Open a view of people at most `people_max_age` old, and of the consents of now. See `Crm.snapshot`."""
        with self._copies.open(opt_in_ids, self._max_age) as copy:
            yield copy.snapshot

    def record_bounces(self, bounces: Sequence[Bounce], on_written: OnWritten = ignore_written) -> WriteBack:
        """Mark the addresses as bounced, for all mandators. See `Crm.record_bounces`. Counts are addresses."""
        if not bounces:
            return WriteBack(0, 0)
        with self._writer(()) as writer:
            return writer.record_bounces(bounces, on_written)

    def record_unsubscribes(
        self, unsubscribes: Sequence[Unsubscribe], on_written: OnWritten = ignore_written
    ) -> WriteBack:
        """Write withdrawals, for the opt-ins of the unsubscribe's mandator only. See `Crm.record_unsubscribes`.

        Counts are withdrawals: an unsubscribe makes one for each entity and each opt-in that it is about.

        Raises:
            CrmError: the CRM can't be read or written to, or defines no opt-in at all for a mandator.
        """
        if not unsubscribes:
            return WriteBack(0, 0)
        with self._writer(None) as writer:
            return writer.record_unsubscribes(unsubscribes, on_written)

    def takes_responses(self) -> bool:
        """Return whether the CRM takes opens, clicks and other responses."""
        return self._source.takes_responses()

    def record_responses(self, responses: Sequence[Response]) -> RecordedResponses:
        """Append the responses of people and campaigns that the CRM has. See `Crm.record_responses`."""
        return self._source.record_responses(responses) if responses else RecordedResponses()

    def last_export(self, name: str) -> datetime | None:
        """Return when the CRM last finished an export. See `Crm.last_export`."""
        return self._source.last_export(name)

    @contextmanager
    def _writer(self, opt_in_ids: Collection[str] | None) -> Iterator[FeedbackWriter]:
        with self._copies.open(opt_in_ids, self._max_age) as copy:
            yield FeedbackWriter(copy, self._source, self._words, self._memory)
