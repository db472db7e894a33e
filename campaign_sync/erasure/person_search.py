"""The search for all addresses and records of people who are to be erased."""

import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.port import CrmSnapshot
from campaign_sync.domain.arrow_text import is_among
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.erasure.redacted_content import readable
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.storage.expired_files import SNAPSHOTS
from campaign_sync.storage.files import FileStorage
from campaign_sync.storage.people_links import PeopleLinks

OnFile: TypeAlias = Callable[[int, int], None]

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
    def read(
        cls, files: FileStorage, addresses: Collection[str], records: Collection[Entity], on_file: OnFile
    ) -> "SentPairs":
        """Return the pairs of all snapshots that have one of these addresses or records.

        Raises:
            FileStorageError: a snapshot can't be read.
        """
        pairs: set[tuple[str, Entity]] = set()
        ids = {record.entity_id for record in records}
        names = [name for name in files.names(SNAPSHOTS) if name.endswith(".parquet")]
        for number, name in enumerate(names, 1):
            with readable(name):
                file = pq.ParquetFile(io.BytesIO(files.read_document(name)))
                if set(_COLUMNS) <= set(file.schema_arrow.names):  # unlike the rejections of a plan
                    rows = _rows_with(file.read(columns=_COLUMNS), addresses, ids)
                    for row in rows:
                        entity = Entity.from_parts(row["entity_type"], row["entity_id"])
                        sent = {address for address in (row[RECIPIENT_ID], row[ADDRESS]) if address}
                        if entity and (entity in records or not sent.isdisjoint(addresses)):
                            pairs.update((address, entity) for address in sent)
            on_file(number, len(names))
        return cls(frozenset(pairs))

    def records_with(self, address: str) -> set[Entity]:
        """Return the records that were sent with an address."""
        return {entity for sent_address, entity in self.pairs if sent_address == address}

    def addresses_of(self, records: Collection[Entity]) -> set[str]:
        """Return the addresses that these records were sent with."""
        return {address for address, entity in self.pairs if entity in records}


def _rows_with(table: pa.Table, addresses: Collection[str], ids: Collection[str]) -> list[dict[str, str | None]]:
    """Return the rows with one of these addresses, or of a record with one of these ids."""
    wanted = ((RECIPIENT_ID, addresses), (ADDRESS, addresses), ("entity_id", ids))
    masks = [is_among(table[name], values) for name, values in wanted]
    rows: list[dict[str, str | None]] = table.filter(reduce(pc.or_, masks)).to_pylist()
    return rows


def find_people(
    queries: Sequence[PersonQuery], crm: CrmSnapshot, links: PeopleLinks, files: FileStorage, on_file: OnFile
) -> list[FoundPerson]:
    """Return, for each query, all that the person whom it names is known by.

    An address is erased with all records that have it in the CRM, or had it when the CRM last had them. Their other
    addresses are erased as well, unless other records have these now. Snapshots are read once for all, and once more
    where records are found by them.

    Args:
        queries: the people.
        crm: the CRM.
        links: what the state database knows.
        files: the file storage.
        on_file: receives how many snapshots were read, and how many there are.

    Raises:
        CrmError: the CRM can't be read.
        FileStorageError: a snapshot can't be read.
        StateError: the state database can't be read.
    """
    asked = [({query.address} if query.address else set(), _records(query, crm)) for query in queries]
    addresses, records = (set[Any]().union(*parts) for parts in zip(*asked, strict=True)) if asked else (set(), set())
    sent = SentPairs.read(files, addresses, records, on_file)
    holders = [_holders(query, theirs, crm, links, sent) for query, (_, theirs) in zip(queries, asked, strict=True)]
    if further := set[Entity]().union(*(gone for gone, _ in holders)) - records:
        sent = SentPairs(sent.pairs | SentPairs.read(files, (), further, on_file).pairs)
    people = []
    for query, (own, theirs), (gone, former) in zip(queries, asked, holders, strict=True):
        known = theirs | gone
        now = {address for email in crm.emails(known).values() if (address := address_key(email))}
        others = (sent.addresses_of(known) | links.addresses_of(known) | now) - own
        shared = {address for address in others if set(crm.entities_with(address)) - known}
        addresses_of_person = frozenset(own | (others - shared))
        people.append(FoundPerson(query, addresses_of_person, frozenset(known), len(shared), tuple(sorted(former))))
    return people


def _records(query: PersonQuery, crm: CrmSnapshot) -> set[Entity]:
    return set(query.entities) or set(crm.entities_with(query.address or ""))


def _holders(
    query: PersonQuery, records: set[Entity], crm: CrmSnapshot, links: PeopleLinks, sent: SentPairs
) -> tuple[set[Entity], set[Entity]]:
    """Return the further records that had the address once: those that the CRM has no more, and the others."""
    if not query.address:
        return set(), set()
    earlier = (sent.records_with(query.address) | links.records_with({query.address})) - records
    emails = crm.emails(earlier)
    former = {record for record in earlier if emails.get(record)}
    return earlier - former, former
