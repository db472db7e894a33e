"""The search for a person in the CRM, in the snapshots of the lists and in the rejections.

`report_memberships` serves `why` and `report_memberships_on` serves `prove`: both return `PersonReport`s.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import ConsentEvent, current_consent
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import FINAL_BOUNCES
from campaign_sync.domain.membership import explain_membership
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression_reasons import SuppressionReason, suppression_reasons
from campaign_sync.inquiry.errors import FutureDayError
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.inquiry.person_report import EventOrigin, ListMembership, ListState, PersonListReport, PersonReport
from campaign_sync.inquiry.sources import Sources
from campaign_sync.replacement.list_approval import awaited_plan
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.crm_write_backs import WriteBackRecord
from campaign_sync.storage.files import FileStorageError
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.replacement_history import ProvenList

SNAPSHOTS_SEARCHED = 30
"""How many snapshots of each list are searched for people whom neither the CRM nor the current lists have."""

_ROW_ERASED = (
    "rows of erased people were removed from its snapshot, and theirs may have been among them; if so, it has them "
    "until its next replacement"
)
"""Why it isn't known whether a person is in a list."""


def report_memberships(sources: Sources, query: PersonQuery) -> list[PersonReport]:
    """Return whether the people whom the query names are in each list of each mandator, and why or why not.

    If neither the CRM nor the current lists have them, earlier snapshots are searched, then the vendor's feedback.

    Raises:
        UnknownPersonError: none of these has them.
    """
    search = _PersonSearch(sources, sources.all_list_settings, None)
    reports = search.find(query) or search.find_former_recipients(query) or search.find_unmatched_address(query)
    if not reports:
        raise query.unknown_error(f"the last {SNAPSHOTS_SEARCHED} snapshots of any list", feedback=True)
    return reports


def report_memberships_on(
    sources: Sources, query: PersonQuery, day: date | None, lists: Collection[tuple[str, str]]
) -> list[PersonReport]:
    """Return whether the people whom the query names were in these lists at the end of a day, and whether they are now.

    Args:
        sources: where to search.
        query: the people.
        day: a day in each mandator's time zone; None for now.
        lists: keys of mandator and list.

    Raises:
        UnknownPersonError: neither the CRM nor the snapshots of that day and of now have them.
        FutureDayError: the day lies ahead.
    """
    chosen = [settings for settings in sources.all_list_settings if (settings.mandator, settings.name) in lists]
    reports = _PersonSearch(sources, chosen, day).find(query)
    if not reports:
        snapshots = f"of {day} or of today" if day else "in force now; ask for the day in question with --at"
        raise query.unknown_error(f"the snapshots {snapshots}", feedback=False)
    return reports


@dataclass(frozen=True)
class _ListStates:
    """A list at the moment asked for, and now."""

    settings: ListSettings
    then: ListState
    now: ListState
    awaited_plan: StoredPlan | None


class _PersonSearch:
    """A search for people in some lists, at the end of a day and now."""

    def __init__(self, sources: Sources, list_settings: Sequence[ListSettings], day: date | None) -> None:
        self._sources, self._list_settings = sources, list_settings
        self._state, self._crm = sources.state, sources.crm
        self._erased = sources.state.erasures.erased()
        self._now = datetime.now(UTC)
        self._zones = {key: mandator.zone for key, mandator in sources.configuration.mandators.items()}
        self._moments = {key: _end_of(day, zone, self._now) for key, zone in self._zones.items()}

    def find(self, query: PersonQuery) -> list[PersonReport]:
        """Return those whom the CRM, the snapshots or the rejections know."""
        in_crm = query.entities or self._crm.entities_with(query.address or "")
        lists = self._states_of_lists(query.address, in_crm)
        people = _unique_people(in_crm, *(state.rows for entry in lists for state in (entry.then, entry.now)))
        if len(people) > len(in_crm):  # who was found by an old address may be in other lists under another address
            lists = self._states_of_lists(None, people)
        reports = (self._report(entity, lists) for entity in people)
        return [report for report in reports if report.known]

    def find_former_recipients(self, query: PersonQuery) -> list[PersonReport]:
        """Return those whom the newest earlier snapshot with any of them has."""
        earlier = [
            proven
            for settings in self._list_settings
            for proven in self._state.replacement_history.proven(settings.mandator, settings.name)[1:SNAPSHOTS_SEARCHED]
        ]
        for proven in sorted(earlier, key=lambda proof: proof.proven_at, reverse=True):
            try:
                rows = self._sources.archive.rows_of(proven, query.address, query.entities)
            except FileStorageError:  # old snapshots may have been deleted
                continue
            if rows:
                people = _unique_people([], rows)
                lists = self._states_of_lists(None, people)
                return [replace(self._report(entity, lists), last_sent=proven) for entity in people]
        return []

    def find_unmatched_address(self, query: PersonQuery) -> list[PersonReport]:
        """Return the report on an address that only the vendor's feedback or the CRM's bounces have."""
        if query.address is None:
            return []
        lists = self._states_of_lists(query.address, [])
        reports = [self._list_report(None, None, query.address, [], entry) for entry in lists]
        return [PersonReport(None, None, reports)] if any(report.suppression_reasons for report in reports) else []

    def _states_of_lists(self, address: str | None, people: Collection[Entity]) -> list[_ListStates]:
        return [self._list_states(settings, address, people) for settings in self._list_settings]

    def _list_states(self, settings: ListSettings, address: str | None, people: Collection[Entity]) -> _ListStates:
        moment = self._moments[settings.mandator]
        proofs = self._state.replacement_history.proven(settings.mandator, settings.name, settings.recipient_list_id)
        newest = next(iter(proofs), None)
        now, awaited = (
            self._state_until(settings, newest, self._now, address, people),
            awaited_plan(settings, self._state),
        )
        if moment >= self._now:
            return _ListStates(settings, now, now, awaited)
        proven = next((proof for proof in proofs if proof.proven_at <= moment), None)
        if proven is newest:
            then = replace(now, cleared_at=self._cleared_at(settings, proven, moment))
            return _ListStates(settings, then, now, awaited)
        return _ListStates(settings, self._state_until(settings, proven, moment, address, people), now, awaited)

    def _state_until(
        self,
        settings: ListSettings,
        proven: ProvenList | None,
        moment: datetime,
        address: str | None,
        people: Collection[Entity],
    ) -> ListState:
        state = ListState(proven=proven, cleared_at=self._cleared_at(settings, proven, moment))
        if proven is None:
            return state
        try:
            return replace(state, rows=self._sources.archive.rows_of(proven, address, people))
        except FileStorageError as error:
            return replace(state, unreadable=str(error))

    def _cleared_at(self, settings: ListSettings, proven: ProvenList | None, moment: datetime) -> datetime | None:
        after = proven.proven_at if proven else None
        return self._state.replacement_history.last_cleared(settings.mandator, settings.name, after, moment)

    def _report(self, entity: Entity, lists: Sequence[_ListStates]) -> PersonReport:
        email, consents = self._crm.email(entity), self._crm.consents(entity)
        reports = [
            self._list_report(
                entity, email, address_key(email), consents.get(entry.settings.schema.opt_in_id, []), entry
            )
            for entry in lists
        ]
        return PersonReport(str(entity), email, reports)

    def _list_report(
        self,
        entity: Entity | None,
        email: str | None,
        address: str | None,
        events: Sequence[ConsentEvent],
        entry: _ListStates,
    ) -> PersonListReport:
        then, now = self._memberships(entity, entry)
        row = then.row or now.row
        sent_address = row.address if row else address
        current_address = address if email is not None else sent_address
        reasons, sent_address_reasons = (
            self._suppression_reasons(entry.settings, entity, candidate, current_consent(events))
            for candidate in (current_address, sent_address)
        )
        written = self._state.write_backs.find(entity, sent_address) if entity else []
        bounces = [record for record in written if record.bounce_kind in FINAL_BOUNCES]
        still_bounced = any(reason.reason is Reason.BOUNCED for reason in sent_address_reasons)
        return PersonListReport(
            settings=entry.settings,
            zone=self._zones[entry.settings.mandator],
            moment=self._moments[entry.settings.mandator],
            then=then,
            now=now,
            events=events,
            suppression_reasons=reasons,
            sent_address_reasons=sent_address_reasons,
            origins={record.event_id: self._origin(record) for record in written if record.event_id},
            reset_bounces=[] if still_bounced else bounces,
            awaited_plan=entry.awaited_plan,
        )

    def _memberships(self, entity: Entity | None, entry: _ListStates) -> tuple[ListMembership, ListMembership]:
        hidden = Entity.parse(self._erased.rejected_record(str(entity))) if entity else None
        people = {person for person in (entity, hidden) if person}
        settings, history = entry.settings, self._state.replacement_history
        by_record = history.rejections(settings.mandator, settings.name, people)
        rejections = [rejection for of_person in by_record.values() for rejection in of_person]

        def membership(state: ListState) -> ListMembership:
            row = state.rows.get(str(entity))
            if row is None and self._may_be_erased_from(state.proven, entity):
                state = replace(state, unreadable=_ROW_ERASED)
            in_list = row is not None and row.in_list
            sorted_rejections = explain_membership(
                rejections, state.proven, in_snapshot=row is not None, in_list=in_list
            )
            return ListMembership(state, row, sorted_rejections)

        return membership(entry.then), membership(entry.now)

    def _may_be_erased_from(self, proven: ProvenList | None, entity: Entity | None) -> bool:
        """Return whether a person's row may have been erased from the snapshot of a proof."""
        erased_at = self._erased.at(record=str(entity)) if entity else None
        return (
            erased_at is not None and proven is not None and erased_at >= proven.proven_at and bool(proven.redactions)
        )

    def _suppression_reasons(
        self, settings: ListSettings, entity: Entity | None, address: str | None, consent: ConsentEvent | None
    ) -> list[SuppressionReason]:
        return suppression_reasons(
            self._sources.suppressions[settings.mandator],
            settings.schema.opt_in_id,
            str(entity) if entity else None,
            address,
            consent.occurred_at if consent else None,
            self._erased,
        )

    def _origin(self, record: WriteBackRecord) -> EventOrigin:
        fetched = self._state.feedback_imports.find(record.raw.import_id) if record.raw else None
        file, row = fetched.file if fetched else None, record.raw.position if record.raw else None
        return EventOrigin(file, row, record.attribution)


def _end_of(day: date | None, zone: ZoneInfo, now: datetime) -> datetime:
    if day is None:
        return now
    if day > now.astimezone(zone).date():
        raise FutureDayError(f"{day} lies ahead; ask for a day that is over, or for today")
    midnight = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    return min(now, midnight - timedelta(microseconds=1))


def _unique_people(people: Collection[Entity], *keys: Collection[str]) -> list[Entity]:
    """Return these people and those whose keys are given, without repetitions."""
    parsed = [Entity.parse(key) for group in keys for key in group]
    return list(dict.fromkeys([*people, *(entity for entity in parsed if entity)]))
