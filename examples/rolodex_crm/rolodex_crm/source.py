"""Rolodex as a source of the mirror: contacts with the states of their consents, and static lists."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from campaign_sync.crm.mirror.source import (
    ADDRESS_STATE_COLUMNS,
    MEMBER_COLUMNS,
    STATE_COLUMNS,
    BounceMark,
    Source,
    SourceReader,
    SourceRows,
    Withdrawal,
)
from campaign_sync.crm.port import CrmError, CrmNeeds, Pick
from campaign_sync.domain.consent import OptIn
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import bounce_precedence
from campaign_sync.domain.instant import parse_instant
from rolodex_crm import RolodexSettings
from rolodex_crm.api import Pages, RolodexApi

PEOPLE_COLUMNS = ("id", "email", "first_name", "city")

Row = tuple[object, ...]


class RolodexReader:
    """Implements `SourceReader`: one read of everything."""

    def __init__(self, api: RolodexApi) -> None:
        self._api = api
        self.as_of = datetime.now(UTC)

    def pick(self, pick: Pick) -> SourceRows:
        """Return the members of a list; Rolodex has contacts only."""
        if pick.kind != "marketing_list":
            raise CrmError(f"Rolodex has no {pick.kind}; select a marketing_list")
        pages = self._api.pages(f"/lists/{quote(pick.name, safe='')}/members")
        return _rows(MEMBER_COLUMNS, pages, lambda member: [(EntityType.CONTACT.value, member)])

    def people(self, entity_type: EntityType) -> SourceRows:
        """Return the contacts."""
        if entity_type is not EntityType.CONTACT:
            return SourceRows(PEOPLE_COLUMNS, iter(()), lambda: 0)
        return _rows(PEOPLE_COLUMNS, self._contacts(), lambda contact: [tuple(contact[key] for key in PEOPLE_COLUMNS)])

    def opt_ins(self) -> Sequence[OptIn]:
        """Return none: Rolodex doesn't define any, so they are in the configuration."""
        return ()

    def consent_events(self, _: Collection[str] | None) -> SourceRows | None:
        """Return None: Rolodex keeps states."""
        return None

    def consent_states(self, _: Collection[str] | None) -> SourceRows:
        """Return the states of all consents of all contacts."""
        return _rows(STATE_COLUMNS, self._contacts(), _states)

    def address_states(self) -> SourceRows:
        """Return the bounces, which Rolodex keeps with the contacts."""
        return _rows(ADDRESS_STATE_COLUMNS, self._contacts(), _bounces)

    def _contacts(self) -> Pages:
        return self._api.pages("/contacts")


class RolodexSource(Source):
    """Implements `Source`."""

    def __init__(self, settings: RolodexSettings) -> None:
        self._api = RolodexApi(settings.base_url, settings.token.get_secret_value(), settings.page_size)

    def check(self, *, exports: bool) -> None:
        """Raise CrmError unless Rolodex answers."""
        if exports:
            raise CrmError("Rolodex lists no exports; use crm_export.marker")
        if self._api.get("/contacts", limit=1) is None:
            raise CrmError("Rolodex has no /contacts; check crm.base_url")

    @contextmanager
    def read(self, needs: CrmNeeds) -> Iterator[SourceReader]:
        """Open one read. Nothing has to be prepared for it."""
        yield RolodexReader(self._api)

    def write_withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write the withdrawals, each in its contact, and yield those that Rolodex has now."""
        for withdrawal in withdrawals:
            if self._withdraw(withdrawal):
                yield [withdrawal]

    def write_bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Mark all contacts with the address, and yield the bounces that all of them have now."""
        for bounce in bounces:
            marked = [self._mark(_path(entity), bounce) for entity, _ in bounce.holders]
            if all(marked):
                yield [bounce]

    def last_export(self, name: str) -> datetime | None:
        """Raise CrmError: Rolodex lists no exports."""
        raise CrmError("Rolodex lists no exports; use crm_export.marker")

    def _withdraw(self, withdrawal: Withdrawal) -> bool:
        path = _path(withdrawal.entity)
        contact = self._api.get(path)
        if contact is None:
            return False
        if _stays(contact["consents"].get(withdrawal.opt_in_id), withdrawal):
            return True
        state = {"status": "withdrawn", "at": withdrawal.occurred_at.isoformat()}
        return self._api.patch(path, {"consents": {withdrawal.opt_in_id: state}})

    def _mark(self, path: str, bounce: BounceMark) -> bool:
        contact = self._api.get(path)
        if contact is None:
            return False
        before = contact["bounced"]
        at = parse_instant(before["at"]) if before else None
        if at and bounce_precedence(before["kind"], at) >= bounce_precedence(bounce.kind, bounce.occurred_at):
            return True
        return self._api.patch(path, {"bounced": {"kind": bounce.kind.value, "at": bounce.occurred_at.isoformat()}})


def _rows(columns: tuple[str, ...], pages: Pages, rows_of: Callable[[Any], list[Row]]) -> SourceRows:
    """Return the rows that the items of all pages become. An item may become none or several."""
    yielded = 0

    def chunks() -> Iterator[Sequence[Row]]:
        nonlocal yielded
        for page in pages:
            rows = [row for item in page for row in rows_of(item)]
            yielded += len(rows)
            yield rows
        pages.require_all()  # Rolodex counts items, not rows

    return SourceRows(columns, chunks(), lambda: yielded)


def _path(entity: Entity) -> str:
    return f"/contacts/{quote(entity.entity_id, safe='')}"


def _states(contact: dict[str, Any]) -> list[Row]:
    return [
        (EntityType.CONTACT.value, contact["id"], None, opt_in_id, state["status"], state["at"], "Rolodex", None)
        for opt_in_id, state in contact["consents"].items()
    ]


def _bounces(contact: dict[str, Any]) -> list[Row]:
    bounced = contact["bounced"]
    return [(contact["email"], bounced["kind"], bounced["at"], None, "Rolodex")] if bounced else []


def _stays(state: dict[str, Any] | None, withdrawal: Withdrawal) -> bool:
    """Return whether the contact's state is withdrawn already, or a grant that is newer."""
    if state is None:
        return False
    at = parse_instant(state["at"])
    return state["status"] == "withdrawn" or (at is not None and at > withdrawal.occurred_at)
