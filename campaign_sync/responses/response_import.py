"""The import of fetched responses into the dataset, then into the CRM; only then the watermark moves."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from campaign_sync.config import MandatorSettings, ResponseReaderSettings
from campaign_sync.crm.port import Crm, RecordedResponses
from campaign_sync.domain.erasure import Erased, is_token
from campaign_sync.domain.response import RESPONSE_READER_KINDS, Response
from campaign_sync.domain.windows import Window
from campaign_sync.feedback.erased_feedback import CurrentAddresses
from campaign_sync.feedback.mailing_lists import MailingRecipientLists
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.responses.dataset import store_responses
from campaign_sync.responses.response_parsing import attribute_responses, parse_responses
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.state import State


@dataclass
class ResponseImportSummary:
    """The result of importing the pending windows of a reader. Counts are of responses, `unparsed` of stored rows."""

    new: int = 0
    known_before: int = 0
    unparsed: int = 0
    """Rows of all windows of the reader, also of earlier ones."""
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
    """Import every pending window of a reader, one after the other.

    Windows with rows that didn't fit are parsed again when the reader's layout has changed.

    Args:
        mandator: a key of the configuration.
        reader: one of its readers of responses.
        settings: the settings of the mandator.
        crm: opens the CRM; called once there is something to store.
        state: the state database.
        frames: the file storage.
        vendor: opens the vendor's API, which is asked for the recipient lists of mailings.
        on_responses: receives the number of responses so far.

    Raises:
        CrmError, FileStorageError, OptimizelyError, StateError: one of them fails. Repeat the call; nothing is stored
            twice.
    """
    configured = settings.responses.reader(reader) if settings.responses else None
    if configured is None:
        raise ValueError(f"mandators.{mandator}.responses doesn't have {reader}")
    erased = state.erasures.erased()
    layout, version = configured.layout(settings.zone), _version(configured, settings)
    lists_of, summary, done = MailingRecipientLists(vendor), ResponseImportSummary(), 0
    for window in state.response_imports.pending(mandator, reader, version):
        understood, unparsed = parse_responses(frames.read_rows(window.file, window.digest), window, layout)
        responses = _without_erased(understood, erased, crm, mandator)
        responses = attribute_responses(responses, mandator, state, frames, lists_of, crm)
        kind, span = RESPONSE_READER_KINDS[reader], Window(window.since, window.until)
        new = store_responses(mandator, kind, responses, span, frames)
        summary.new, summary.known_before = summary.new + new, summary.known_before + len(responses) - new
        if crm().takes_responses():
            recorded = crm().record_responses(
                [response for response in responses if not is_token(response.recipient_id)]
            )
            summary.in_crm = summary.in_crm + recorded if summary.in_crm else recorded
        state.response_imports.commit(window.id, unparsed, version, datetime.now(UTC))
        done += len(responses)
        on_responses(done)
    summary.unparsed = state.response_imports.unparsed(mandator, reader)
    return summary


def _without_erased(responses: list[Response], erased: Erased, crm: Callable[[], Crm], mandator: str) -> list[Response]:
    """Return the responses, those of erased people without their address and what their rows name."""
    if not erased:
        return responses
    people = ((response.recipient_id, response.occurred_at) for response in responses)
    addresses = CurrentAddresses.of(people, erased, crm, mandator)
    named = [
        replace(response, recipient_id=addresses.at(response.recipient_id, response.occurred_at))
        for response in responses
    ]
    return [replace(response, reported=None) if is_token(response.recipient_id) else response for response in named]


def _version(reader: ResponseReaderSettings, settings: MandatorSettings) -> str:
    """Return a text that differs between settings by which rows would be parsed differently."""
    return hashlib.sha256(f"{reader.model_dump_json()} {settings.timezone}".encode()).hexdigest()
