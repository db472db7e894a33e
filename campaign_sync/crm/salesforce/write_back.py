"""Withdrawals and bounces, each written where Salesforce keeps it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from campaign_sync.config.crm_salesforce import ConsentFields, SalesforceSettings
from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.mirror.source import BounceMark, Withdrawal
from campaign_sync.crm.salesforce.api import SalesforceApi, literals
from campaign_sync.crm.salesforce.bounces import reason_of, takes_precedence
from campaign_sync.crm.salesforce.collections import MOST_RECORDS, Change, RecordWriter
from campaign_sync.crm.salesforce.consents import purpose_ids
from campaign_sync.crm.salesforce.records import Record, Records, value_at, whole_second, written_time
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.crm.salesforce.stated_consents import (
    BRAND,
    CONSENT_RECORD,
    StatedConsent,
    consent_paths,
    of_checkbox,
    of_record,
)
from campaign_sync.domain.consent import GRANTING, normalize_word
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.feedback import FINAL_BOUNCES, bounce_precedence

_SOURCE_LENGTH = 255

_OfParty = defaultdict[tuple[str, str], list[Withdrawal]]
"""Withdrawals by individual and purpose."""


@dataclass
class _Plan:
    """The changes of a part of the feedback, at most one of each record, and which feedback needs which.

    Feedback that needs none is in the CRM, or has no place in it; feedback that isn't in the plan is refused.
    """

    changes: list[Change] = field(default_factory=list)
    needed: dict[str, list[int]] = field(default_factory=dict)
    """By event id, the positions of the changes."""

    def settle(self, event_id: str) -> None:
        """Note that feedback needs no change, or none beside those that it has."""
        self.needed.setdefault(event_id, [])

    def add(self, event_ids: Sequence[str], change: Change) -> None:
        """Add a change for feedback."""
        for event_id in event_ids:
            self.needed.setdefault(event_id, []).append(len(self.changes))
        self.changes.append(change)

    def done(self, refused: Sequence[Change]) -> set[str]:
        """Return the ids of the feedback that the CRM has, once the changes were written."""
        lost = set(map(id, refused))
        return {
            event_id
            for event_id, positions in self.needed.items()
            if not any(id(self.changes[position]) in lost for position in positions)
        }


class SalesforceWriter:
    """Writes feedback. What Salesforce has is read again first, and only what differs is written.

    Args:
        api: of the org.
        settings: the section `crm`.
    """

    def __init__(self, api: SalesforceApi, settings: SalesforceSettings) -> None:
        self._api, self._settings = api, settings
        self._opt_ins = {normalize_word(opt_in_id): opt_in for opt_in_id, opt_in in settings.opt_ins.items()}
        self._records = Records(api, Schema(api))
        self._writer = RecordWriter(api)

    def withdrawals(self, withdrawals: Sequence[Withdrawal]) -> Iterator[Sequence[Withdrawal]]:
        """Write withdrawals. See `Source.write_withdrawals`."""
        purposes = {
            opt_in_id: purpose_id
            for purpose_id, opt_in_ids in purpose_ids(
                self._api, {key: opt_in.purpose for key, opt_in in self._opt_ins.items() if opt_in.purpose}
            ).items()
            for opt_in_id in opt_in_ids
        }
        for start in range(0, len(withdrawals), MOST_RECORDS):
            part = withdrawals[start : start + MOST_RECORDS]
            plan, of_party = _Plan(), _OfParty(list)
            for entity_type in EntityType:
                self._plan_withdrawals(plan, entity_type, part, purposes, of_party)
            self._plan_consent_records(plan, of_party)
            done = plan.done(self._writer.write(plan.changes))
            yield [withdrawal for withdrawal in part if withdrawal.event_id in done]

    def bounces(self, bounces: Sequence[BounceMark]) -> Iterator[Sequence[BounceMark]]:
        """Write bounces. See `Source.write_bounces`.

        Soft ones have no place: Salesforce sends nothing any more to a record that it shows as bounced.
        """
        for start in range(0, len(bounces), MOST_RECORDS):
            part = bounces[start : start + MOST_RECORDS]
            plan = _Plan()
            for bounce in part:
                if bounce.kind not in FINAL_BOUNCES:
                    plan.settle(bounce.event_id)
            self._plan_bounces(plan, [bounce for bounce in part if bounce.kind in FINAL_BOUNCES])
            done = plan.done(self._writer.write(plan.changes))
            yield [bounce for bounce in part if bounce.event_id in done]

    def _plan_withdrawals(
        self,
        plan: _Plan,
        entity_type: EntityType,
        part: Sequence[Withdrawal],
        purposes: Mapping[str, str],
        of_party: _OfParty,
    ) -> None:
        """Plan the changes of records of a type. What concerns consent records is added to `of_party`."""
        by_id: defaultdict[str, list[Withdrawal]] = defaultdict(list)
        for withdrawal in part:
            if withdrawal.entity.entity_type is entity_type:
                by_id[withdrawal.entity.entity_id].append(withdrawal)
        if not by_id:
            return
        fields = self._consent_fields(entity_type)
        has_parties = bool(purposes) and entity_type is not EntityType.ACCOUNT
        names = [name for field in fields.values() for name in (field.granted, field.at) if name]
        paths = [*names, *(["IndividualId"] if has_parties else [])]
        for record_id, record in self._records.read(entity_type, by_id, paths).items():
            self._plan_fields(plan, entity_type, record, by_id[record_id])
            for withdrawal in by_id[record_id]:
                purpose_id = purposes.get(normalize_word(withdrawal.opt_in_id))
                if purpose_id and has_parties and record["IndividualId"]:
                    of_party[record["IndividualId"], purpose_id].append(withdrawal)
                elif normalize_word(withdrawal.opt_in_id) not in fields:
                    plan.settle(withdrawal.event_id)  # such a record can't have this consent

    def _plan_fields(self, plan: _Plan, entity_type: EntityType, record: Record, group: Sequence[Withdrawal]) -> None:
        values: dict[str, object] = {}
        written = []
        for withdrawal in group:
            fields = self._consent_fields(entity_type).get(normalize_word(withdrawal.opt_in_id))
            if fields is None:
                continue
            new = self._values(entity_type, record, fields, withdrawal)
            if new:
                values |= new
                written.append(withdrawal.event_id)
            else:
                plan.settle(withdrawal.event_id)
        if values:
            plan.add(written, self._records.change(entity_type, record, values))

    def _values(
        self, entity_type: EntityType, record: Record, fields: ConsentFields, withdrawal: Withdrawal
    ) -> dict[str, object]:
        """Return the values of a record that have to change for a withdrawal; none if it shows it, or a newer grant."""
        granted, at = record[fields.granted], record[fields.at] if fields.at else None
        stated = of_checkbox("true" if granted else "false", at)
        if stated.is_withdrawn or stated.is_grant_since(withdrawal.occurred_at):
            return {}
        values: dict[str, object] = {fields.granted: False} if granted else {}
        if fields.at:
            values[fields.at] = self._records.written(OBJECTS[entity_type], fields.at, withdrawal.occurred_at)
        return values

    def _consent_fields(self, entity_type: EntityType) -> dict[str, ConsentFields]:
        return {key: opt_in.field[entity_type] for key, opt_in in self._opt_ins.items() if entity_type in opt_in.field}

    def _plan_consent_records(self, plan: _Plan, of_party: _OfParty) -> None:
        if not of_party:
            return
        now = datetime.now(UTC)
        existing: defaultdict[tuple[str, str], list[tuple[Record, StatedConsent]]] = defaultdict(list)
        condition = (
            " AND ContactPointType = 'Email' AND DataUsePurposeId IN "
            f"{literals(sorted({purpose_id for _, purpose_id in of_party}))}"
        )
        parties = {party for party, _ in of_party}
        paths = consent_paths(self._records.schema.has(CONSENT_RECORD, BRAND))
        for row in self._records.rows(CONSENT_RECORD, paths, "PartyId", parties, condition):
            existing[row["PartyId"], row["DataUsePurposeId"]].append((row, of_record(row, now)))
        for key, group in of_party.items():
            newest = max(group, key=lambda withdrawal: withdrawal.occurred_at)
            event_ids = [withdrawal.event_id for withdrawal in group]
            for event_id in event_ids:
                plan.settle(event_id)
            for change in _changes(key, existing[key], newest):
                plan.add(event_ids, change)

    def _plan_bounces(self, plan: _Plan, bounces: Sequence[BounceMark]) -> None:
        """Plan bounces for all holders that have a place for them; with one of them, the address shows it."""
        holders: defaultdict[Entity, list[BounceMark]] = defaultdict(list)
        for bounce in bounces:
            for entity, _ in bounce.holders:
                if self._settings.bounce_fields(entity.entity_type):
                    holders[entity].append(bounce)
        for entity_type in EntityType:
            fields = self._settings.bounce_fields(entity_type)
            ids = {entity.entity_id for entity in holders if entity.entity_type is entity_type}
            if fields is None or not ids:
                continue
            email = self._settings.field_of(entity_type, "email")
            for record_id, record in self._records.read(entity_type, ids, (email, fields.reason, fields.at)).items():
                group = holders[Entity(entity_type, record_id)]
                for bounce in group:
                    plan.settle(bounce.event_id)
                # Since the copy was made, the record may have got another address, which has not bounced.
                group = [bounce for bounce in group if bounce.address == address_key(value_at(record, email))]
                if not group:
                    continue
                newest = max(group, key=lambda bounce: bounce_precedence(bounce.kind, bounce.occurred_at))
                written_at = whole_second(newest.occurred_at)
                if not takes_precedence(record[fields.reason], record[fields.at], newest, written_at):
                    values = {fields.reason: reason_of(newest), fields.at: written_time(newest.occurred_at)}
                    change = self._records.change(entity_type, record, values)
                    plan.add([bounce.event_id for bounce in group], change)


def _changes(
    key: tuple[str, str], existing: Sequence[tuple[Record, StatedConsent]], withdrawal: Withdrawal
) -> Iterator[Change]:
    """Yield the changes of consent records that a withdrawal needs: every grant becomes an opt-out."""
    if any(stated.is_grant_since(withdrawal.occurred_at) for _, stated in existing):
        return
    values = {
        "PrivacyConsentStatus": "OptOut",
        "CaptureDate": written_time(withdrawal.occurred_at),
        "CaptureSource": withdrawal.source[:_SOURCE_LENGTH],
    }
    grants = [row for row, stated in existing if stated.kind in GRANTING]
    for row in grants:
        yield Change(CONSENT_RECORD, row["Id"], values)
    if not grants and not any(stated.is_withdrawn for _, stated in existing):
        party, purpose_id = key
        new = {
            "Name": "Optimizely Campaign",
            "PartyId": party,
            "DataUsePurposeId": purpose_id,
            "ContactPointType": "Email",
            "CaptureContactPointType": "Email",
        }
        yield Change(CONSENT_RECORD, None, {**new, **values})
