"""Takes what was fetched of responses: into the files, then into the CRM; only then the watermark moves."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from campaign_sync.config import MandatorSettings, ResponseReaderSettings
from campaign_sync.crm.port import Crm, RecordedResponses
from campaign_sync.domain.response import RESPONSE_READER_KINDS
from campaign_sync.domain.windows import Window
from campaign_sync.feedback.mailing_lists import MailingRecipientLists
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.responses.dataset import store_responses
from campaign_sync.responses.response_parsing import attribute_responses, parse_responses
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State


@dataclass
class ResponseImportSummary:
    """What the pending windows of a reader came to. Counts are of responses, `unparsed` of kept rows."""

    new: int = 0
    known_before: int = 0
    unparsed: int = 0
    """Of all windows of the reader, also of earlier ones."""
    in_crm: RecordedResponses | None = None
    """None where the CRM takes no responses."""


def import_responses(
    mandator: str,
    reader: str,
    settings: MandatorSettings,
    crm: Callable[[], Crm],
    state: State,
    frames: FileStorage,
    vendor: Callable[[], Optimizely],
    on_responses: Callable[[int], None],
) -> ResponseImportSummary:
    """Take every window of a reader that waits, one after the other.

    Windows with rows that didn't fit are read again when the reader's layout has changed.

    Args:
        mandator: a key of the configuration.
        reader: one of its readers of responses.
        settings: of the mandator.
        crm: opened once there is something to be stored.
        state: what the product remembers.
        frames: the frame storage.
        vendor: asked to which lists a mailing went.
        on_responses: receives how many responses have been taken so far.

    Raises:
        CrmError, FileStorageError, OptimizelyError, StateError: one of them fails. Repeat it; nothing is stored twice.
    """
    configured = settings.responses.reader(reader) if settings.responses else None
    if configured is None:
        raise ValueError(f"mandators.{mandator}.responses doesn't have {reader}")
    layout, version = configured.layout(settings.zone), _version(configured, settings)
    lists_of, taken, done = MailingRecipientLists(vendor), ResponseImportSummary(), 0
    for window in state.response_imports.pending(mandator, reader, version):
        understood, unparsed = parse_responses(frames.read_rows(window.file, window.digest), window, layout)
        responses = attribute_responses(understood, mandator, state.replacement_history, frames, lists_of, crm)
        kind, span = RESPONSE_READER_KINDS[reader], Window(window.since, window.until)
        new = store_responses(mandator, kind, responses, span, frames)
        taken.new, taken.known_before = taken.new + new, taken.known_before + len(responses) - new
        if crm().takes_responses():
            recorded = crm().record_responses(responses)
            taken.in_crm = taken.in_crm + recorded if taken.in_crm else recorded
        state.response_imports.commit(window.id, unparsed, version, datetime.now(UTC))
        done += len(responses)
        on_responses(done)
    taken.unparsed = state.response_imports.unparsed(mandator, reader)
    return taken


def _version(reader: ResponseReaderSettings, settings: MandatorSettings) -> str:
    """Another one for every layout by which rows could be read otherwise."""
    return hashlib.sha256(f"{reader.model_dump_json()} {settings.timezone}".encode()).hexdigest()
