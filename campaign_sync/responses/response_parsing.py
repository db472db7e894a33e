"""Parsing of stored rows into responses, and their attribution to records and consents of the CRM."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from campaign_sync.crm.port import Crm
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import ConsentRef, ReportedConsent
from campaign_sync.domain.feedback_rows import LARGEST_ID, FeedbackRow, Layout, Row, parse_rows
from campaign_sync.domain.response import RESPONSE_READER_KINDS, Response
from campaign_sync.feedback.attribution import DeliveryHistory
from campaign_sync.feedback.identification import identify_consents
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.import_windows import ImportWindow
from campaign_sync.storage.state import State

RESPONSE_PERIOD = timedelta(days=30)
"""How far back a recipient's lists are looked up: people respond to recent mailings."""


def parse_responses(raw: Iterable[Row], window: ImportWindow, layout: Layout) -> tuple[list[Response], int]:
    """Return the responses of a window, each once, and the number of its rows that don't fit the layout.

    A layout that fits no row raises no error: no replacement depends on responses.
    """
    kind = RESPONSE_READER_KINDS[window.reader]
    parsed = parse_rows(raw, layout, window.until)
    understood = [
        Response(kind, row.address, row.mailing_id, row.occurred_at, _detail(row), reported=_named(row))
        for row in parsed.rows
        if row.mailing_id is not None and 0 < row.mailing_id <= LARGEST_ID
    ]
    unparsed = len(parsed.unparsed) + len(parsed.rows) - len(understood)
    distinct: dict[Response, Response] = {}
    for response in understood:
        # Rows that differ only in the consent that they name are one response; a row that names one takes precedence.
        if response.reported or response not in distinct:
            distinct[response] = response
    return list(distinct.values()), unparsed


def _detail(row: FeedbackRow) -> str | None:
    return row.link or row.category or None


def _named(row: FeedbackRow) -> ReportedConsent | None:
    named = ReportedConsent(row.opt_in_id, Entity.from_parts(row.entity_type, row.entity_id))
    return named if named.opt_in_id or named.entity else None


def attribute_responses(
    responses: Sequence[Response],
    mandator: str,
    state: State,
    frames: FileStorage,
    lists_of: Callable[[int], Collection[int] | None],
    crm: Callable[[], Crm],
) -> list[Response]:
    """Return the responses with entity and opt-in; these stay empty where unknown or ambiguous.

    Names in a row decide if the CRM has them; the rest comes from the lists that were sent.

    Args:
        responses: responses of one mandator.
        mandator: a key of the configuration.
        state: knows the snapshots that were sent, and when.
        frames: the storage of the snapshots.
        lists_of: returns the recipient lists of a mailing; None where they aren't known.
        crm: opens the CRM; called only if rows name something.

    Raises:
        CrmError, FileStorageError: one of them can't be read.
    """
    if not responses:
        return []
    known: dict[ReportedConsent, ReportedConsent] = {}
    if named := {response.reported for response in responses if response.reported}:
        with crm().snapshot() as snapshot:
            known = identify_consents(named, mandator, snapshot)
    people = [(response.recipient_id, response.occurred_at) for response in responses]
    sent = DeliveryHistory.read(mandator, people, RESPONSE_PERIOD, state, frames)
    return [
        _attributed(
            response,
            sent.consents_at(response.recipient_id, response.occurred_at, lists_of(response.mailing_id)),
            known[response.reported] if response.reported else ReportedConsent(None),
        )
        for response in responses
    ]


def _attributed(response: Response, consents: Collection[ConsentRef], known: ReportedConsent) -> Response:
    """Return a response with entity and opt-in. If its row names one of them, the other comes from lists that agree."""
    agreeing = [
        consent
        for consent in consents
        if known.entity in (None, consent.entity) and known.opt_in_id in (None, consent.opt_in_id)
    ]
    entities, opt_in_ids = {consent.entity for consent in agreeing}, {consent.opt_in_id for consent in agreeing}
    return replace(
        response,
        entity=known.entity or (entities.pop() if len(entities) == 1 else None),
        opt_in_id=known.opt_in_id or (opt_in_ids.pop() if len(opt_in_ids) == 1 else None),
    )
