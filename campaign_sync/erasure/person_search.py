"""The search for all addresses and records of a person who is to be erased."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.parquet as pq

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.erasure.redacted_content import readable
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.storage.expired_files import SNAPSHOTS
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.people_links import PeopleLinks

_COLUMNS = [RECIPIENT_ID, ADDRESS, "entity_type", "entity_id"]


@dataclass(frozen=True)
class FoundPerson:
    """All that a person is known by."""

    query: PersonQuery
    addresses: frozenset[str]
    records: frozenset[Entity]
    shared: int = 0
    """How many of their former or other addresses other records of the CRM have now: these aren't erased."""
    former_holders: tuple[Entity, ...] = ()
    """Records that had the address once and have another one now: these aren't erased."""

    @property
    def is_known(self) -> bool:
        """Whether a record of the person is known."""
        return bool(self.records)


@dataclass(frozen=True)
class SentPairs:
    """Which addresses were sent with which records, by all snapshots."""

    pairs: frozenset[tuple[str, Entity]]

    @classmethod
    def read(cls, files: FileStorage, addresses: Iterable[str], records: Iterable[Entity]) -> "SentPairs":
        """Return the pairs of all snapshots that have one of these addresses or records.

        Raises:
            FileStorageError: a snapshot can't be read.
        """
        wanted_addresses, wanted = set(addresses), {(entity.entity_type.value, entity.entity_id) for entity in records}
        pairs: set[tuple[str, Entity]] = set()
        for name in files.names(SNAPSHOTS):
            if not name.endswith(".parquet"):
                continue
            with readable(name):
                file = pq.ParquetFile(io.BytesIO(files.read_document(name)))
                if not set(_COLUMNS) <= set(file.schema_arrow.names):  # rejections of a plan
                    continue
                columns = file.read(columns=_COLUMNS)
            for recipient_id, address, kind, entity_id in zip(
                *(columns[column].to_pylist() for column in _COLUMNS), strict=True
            ):
                is_wanted = (
                    recipient_id in wanted_addresses or address in wanted_addresses or (kind, entity_id) in wanted
                )
                if is_wanted and (entity := Entity.from_parts(kind, entity_id)):
                    pairs.update((found_address, entity) for found_address in (recipient_id, address) if found_address)
        return cls(frozenset(pairs))

    def records_with(self, address: str) -> set[Entity]:
        """Return the records that were sent with an address."""
        return {entity for sent_address, entity in self.pairs if sent_address == address}

    def addresses_of(self, records: Iterable[Entity]) -> set[str]:
        """Return the addresses that these records were sent with."""
        wanted = set(records)
        return {address for address, entity in self.pairs if entity in wanted}


def find_person(query: PersonQuery, crm: CrmSnapshot, links: PeopleLinks, files: FileStorage) -> FoundPerson:
    """Return all that the person whom a query names is known by.

    An address is erased with all records that have it in the CRM, or had it when the CRM last had them. Their other
    addresses are erased as well, unless other records have these now.

    Raises:
        CrmError: the CRM can't be read.
        FileStorageError: a snapshot can't be read.
        StateError: the state database can't be read.
    """
    addresses = {query.address} if query.address else set()
    records = set(query.entities) or set(crm.entities_with(query.address or ""))
    sent = SentPairs.read(files, addresses, records)
    former: set[Entity] = set()
    if query.address:
        earlier = (sent.records_with(query.address) | links.records_with(addresses)) - records
        emails = crm.emails(earlier)
        former = {record for record in earlier if emails.get(record)}
        records |= earlier - former
        if earlier - former:
            sent = SentPairs.read(files, addresses, records)
    now = {address for email in crm.emails(records).values() if (address := address_key(email))}
    others = (sent.addresses_of(records) | links.addresses_of(records) | now) - addresses
    shared = {address for address in others if set(crm.entities_with(address)) - records}
    addresses |= others - shared
    return FoundPerson(query, frozenset(addresses), frozenset(records), len(shared), tuple(sorted(former)))
