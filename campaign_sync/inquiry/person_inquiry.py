"""Gathers all there is on one person: in the CRM, in the snapshots of the lists and in the ledger."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import current_consent
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.membership import verdict
from campaign_sync.domain.suppression_reasons import suppression_reasons
from campaign_sync.inquiry.person import Asked
from campaign_sync.inquiry.person_report import ListMembership, PersonReport
from campaign_sync.inquiry.sources import Sent, Sources, united
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.files import FileStorageError
from campaign_sync.storage.replacement_history import ProvenList

LOOK_BACK = 30
"""So many snapshots of each list are searched for somebody whom neither the CRM nor the lists of today know."""


@dataclass(frozen=True)
class _Shelf:
    """A list as it was proven last, and the rows sent that are about the people asked for."""

    target: ListSettings
    proven: ProvenList | None
    sent: dict[str, Sent]
    unreadable: str | None = None


class Inquiry:
    """One search through everything that is remembered, with the CRM as it is at one moment."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._state, self._crm = sources.state, sources.crm

    def dossiers(self, asked: Asked) -> list[PersonReport]:
        """What there is on everybody whom the question names; empty if nobody knows any of them."""
        in_crm = [asked.entity] if asked.entity else self._crm.entities_with(asked.address or "")
        shelves = self._shelves(asked.address, in_crm)
        people = united(in_crm, *(shelf.sent for shelf in shelves))
        if len(people) > len(in_crm):  # the CRM has forgotten them, or their address: they may be in other lists by now
            shelves = self._shelves(None, people)
        found = [self._dossier(entity, shelves) for entity in people]
        found = [dossier for dossier in found if dossier.known]
        return found or self._former(asked) or self._strangers(asked)

    def _shelves(self, address: str | None, people: Collection[Entity]) -> list[_Shelf]:
        return [self._shelf(one, address, people) for one in self._sources.targets]

    def _shelf(self, one: ListSettings, address: str | None, people: Collection[Entity]) -> _Shelf:
        proven = next(iter(self._state.replacement_history.proven(one.mandator, one.name)), None)
        try:
            return _Shelf(one, proven, self._sources.sent(proven, address, people) if proven else {})
        except FileStorageError as error:
            return _Shelf(one, proven, {}, str(error))

    def _dossier(self, entity: Entity, shelves: Iterable[_Shelf], former: ProvenList | None = None) -> PersonReport:
        email, consents = self._crm.email(entity), self._crm.consents(entity)
        attributions = {one.event_id: one.attribution for one in self._state.write_backs.find(entity, None)}
        lists = []
        for shelf in shelves:
            sent, opt_in_id = shelf.sent.get(str(entity)), shelf.target.schema.opt_in_id
            consent = current_consent(consents.get(opt_in_id, []))
            address = address_key(email) if email is not None else sent.address if sent else None
            ledger = self._state.replacement_history.rejections(shelf.target.mandator, shelf.target.name, [entity])
            lists.append(
                ListMembership(
                    target=shelf.target,
                    zone=self._sources.configuration.mandators[shelf.target.mandator].zone,
                    proven=shelf.proven,
                    broken=self._state.replacements.incomplete(shelf.target.mandator, shelf.target.name),
                    unreadable=shelf.unreadable,
                    sent=sent,
                    verdict=verdict(
                        ledger.get(str(entity), []),
                        shelf.proven,
                        in_snapshot=sent is not None,
                        in_list=sent is not None and sent.in_list,
                    ),
                    consent=consent,
                    attribution=attributions.get(consent.event_id) if consent else None,
                    suppression_reasons=suppression_reasons(
                        self._sources.suppressions[shelf.target.mandator],
                        opt_in_id,
                        str(entity),
                        address,
                        consent.occurred_at if consent else None,
                    ),
                )
            )
        return PersonReport(str(entity), email, lists, former)

    def _former(self, asked: Asked) -> list[PersonReport]:
        """Whoever was sent to before, by the newest snapshot that has them."""
        earlier = [
            proven
            for one in self._sources.targets
            for proven in self._state.replacement_history.proven(one.mandator, one.name)[1:LOOK_BACK]
        ]
        for proven in sorted(earlier, key=lambda each: each.proven_at, reverse=True):
            try:
                sent = self._sources.sent(proven, asked.address, [asked.entity] if asked.entity else [])
            except FileStorageError:  # old snapshots may have been cleared away
                continue
            if sent:
                people = united([], sent)
                shelves = self._shelves(None, people)
                return [self._dossier(entity, shelves, proven) for entity in people]
        return []

    def _strangers(self, asked: Asked) -> list[PersonReport]:
        """An address that only the vendor's feedback or the CRM's bounces know."""
        if asked.address is None:
            return []
        lists = [
            ListMembership(
                target=shelf.target,
                zone=self._sources.configuration.mandators[shelf.target.mandator].zone,
                proven=shelf.proven,
                suppression_reasons=suppression_reasons(
                    self._sources.suppressions[shelf.target.mandator],
                    shelf.target.schema.opt_in_id,
                    None,
                    asked.address,
                    None,
                ),
            )
            for shelf in self._shelves(asked.address, [])
        ]
        return [PersonReport(None, None, lists)] if any(each.suppression_reasons for each in lists) else []
