"""From kept rows to responses: who did what with which mailing, and through which consent we had written to them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from campaign_sync.crm.port import Crm
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import ConsentRef, NamedConsent
from campaign_sync.domain.layout import LARGEST_ID, FeedbackRow, Layout, Row, parse_feedback
from campaign_sync.domain.response import KIND_OF_RESPONSE_READER, Response
from campaign_sync.feedback.attribution import Sent
from campaign_sync.feedback.identification import identified
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.import_windows import ImportWindow
from campaign_sync.storage.replacement_history import ReplacementHistory

LOOKBACK = timedelta(days=30)
"""How far back somebody's lists are looked up: who responds was written to lately."""


def read_responses(raw: Iterable[Row], window: ImportWindow, layout: Layout) -> tuple[list[Response], int]:
    """The responses of a window, each once, and how many of its rows don't fit the layout.

    Where the layout doesn't fit at all, no row does; nobody is harmed by that, so it stops nothing.
    """
    kind = KIND_OF_RESPONSE_READER[window.reader]
    parsed = parse_feedback(raw, layout, window.until)
    understood = [
        Response(kind, row.address, row.mailing_id, row.occurred_at, _detail(row), named=_named(row))
        for row in parsed.rows
        if row.mailing_id is not None and 0 < row.mailing_id <= LARGEST_ID
    ]
    misfits = len(parsed.misfits) + len(parsed.rows) - len(understood)
    distinct: dict[Response, Response] = {}
    for one in understood:  # rows that differ in what they name can be one response; a row that names nothing says less
        if one.named or one not in distinct:
            distinct[one] = one
    return list(distinct.values()), misfits


def _detail(row: FeedbackRow) -> str | None:
    return row.link or row.category or None


def _named(row: FeedbackRow) -> NamedConsent | None:
    named = NamedConsent(row.opt_in_id, Entity.named(row.entity_type, row.entity_id))
    return named if named.opt_in_id or named.entity else None


def people_of(
    responses: Sequence[Response],
    mandator: str,
    history: ReplacementHistory,
    frames: FileStorage,
    lists_of: Callable[[int], Collection[int] | None],
    crm: Callable[[], Crm],
) -> list[Response]:
    """The responses, each with whom it is of: entity and opt-in stay empty where nobody can tell, or several could be.

    What a row names and the CRM knows decides; the lists that were sent tell the rest.

    Args:
        responses: of one mandator.
        mandator: a key of the configuration.
        history: which snapshots were sent when.
        frames: where they are kept.
        lists_of: to which recipient lists a mailing went; None where that isn't known.
        crm: asked for what the rows name, if they name anything.

    Raises:
        CrmError, FileStorageError: one of them can't be read.
    """
    if not responses:
        return []
    known: dict[NamedConsent, NamedConsent] = {}
    if named := {one.named for one in responses if one.named}:
        with crm().snapshot() as snapshot:
            known = identified(named, mandator, snapshot)
    people = [(one.recipient_id, one.occurred_at) for one in responses]
    sent = Sent.read(mandator, people, LOOKBACK, history, frames)
    return [
        _of(
            one,
            sent.through(one.recipient_id, one.occurred_at, lists_of(one.mailing_id)),
            known[one.named] if one.named else NamedConsent(None),
        )
        for one in responses
    ]


def _of(response: Response, through: Collection[ConsentRef], known: NamedConsent) -> Response:
    """Where the row names one of the two, the lists tell the other only as far as they agree."""
    agreeing = [
        one for one in through if known.entity in (None, one.entity) and known.opt_in_id in (None, one.opt_in_id)
    ]
    entities, opt_in_ids = {one.entity for one in agreeing}, {one.opt_in_id for one in agreeing}
    return replace(
        response,
        entity=known.entity or (entities.pop() if len(entities) == 1 else None),
        opt_in_id=known.opt_in_id or (opt_in_ids.pop() if len(opt_in_ids) == 1 else None),
    )
