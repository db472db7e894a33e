"""The people of campaigns and queries."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from campaign_sync.crm.mirror.source import MEMBER_COLUMNS, SourceRows
from campaign_sync.crm.port import CrmSetupError, Pick
from campaign_sync.crm.salesforce.api import SalesforceApi, literal
from campaign_sync.crm.salesforce.bulk import BulkQuery, Row
from campaign_sync.crm.salesforce.consents import id_of
from campaign_sync.crm.salesforce.schema import Schema
from campaign_sync.domain.entity import EntityType

_QUERY = re.compile(r"\s*SELECT\s+([A-Za-z][\w.]*)\s+FROM\s+(.+?)\s*;?\s*", re.IGNORECASE | re.DOTALL)

_TEXTS = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)

_NOT_IN_JOBS = re.compile(r"\b(ORDER\s+BY|LIMIT|OFFSET|GROUP\s+BY)\b", re.IGNORECASE)


@dataclass(frozen=True)
class PickReader:
    """Finds the people of picks.

    Args:
        api: of the org.
        schema: of the org.
    """

    api: SalesforceApi
    schema: Schema

    def rows(self, pick: Pick) -> SourceRows:
        """Return everybody in a pick. See `SourceReader.pick`.

        Raises:
            CrmError: Salesforce has no such pick, or it can't be read completely.
        """
        match pick.kind:
            case "marketing_list":
                return self._campaign(pick)
            case "query" if pick.entity_type:
                return self._query(pick, pick.entity_type)
            case _:
                raise CrmSetupError(f"a {pick.kind} of Salesforce can't be read; select a campaign or a query instead")

    def validate(self, pick: Pick) -> None:
        """Raise CrmError unless a pick exists and can be read completely. None of its people is read."""
        if pick.kind == "query" and pick.entity_type:
            self._query_of(pick).validate()
        else:
            self.rows(pick)

    def _campaign(self, pick: Pick) -> SourceRows:
        campaign = id_of(self.api, "Campaign", pick.name, f"the {pick.title}")
        has_accounts = self.schema.has("CampaignMember", "AccountId")
        # A member that was a lead when it was added, and is a contact now, has both.
        paths = ["Id", "ContactId", "Lead.ConvertedContactId", "LeadId", *(["AccountId"] if has_accounts else [])]
        source = f"CampaignMember WHERE CampaignId = {literal(campaign)}"
        return _rows(BulkQuery(self.api, paths, source, f"the {pick.title}"), MEMBER_COLUMNS)

    def _query(self, pick: Pick, entity_type: EntityType) -> SourceRows:
        query = self._query_of(pick)
        rows = SourceRows(
            MEMBER_COLUMNS,
            ([(entity_type.value, row[0]) for row in chunk if row[0]] for chunk in query.chunks()),
            lambda: 0,
        )
        return replace(counted(rows), entity_type=entity_type)

    def _query_of(self, pick: Pick) -> BulkQuery:
        match = _QUERY.fullmatch(pick.name)
        if match is None:
            raise CrmSetupError(
                f"a {pick.title} must be SOQL that begins with SELECT, one field that has ids, and FROM"
            )
        if clause := _NOT_IN_JOBS.search(_TEXTS.sub("''", match[2])):
            raise CrmSetupError(
                f"a {pick.title} has {clause[1].upper()}, which jobs of Salesforce don't take; leave it out"
            )
        return BulkQuery(self.api, [match[1]], match[2], f"a {pick.title}")


def counted(rows: SourceRows) -> SourceRows:
    """Return rows whose number is compared with Salesforce's own count already, before others are made of them."""
    count = 0

    def chunks() -> Iterator[Sequence[Sequence[object]]]:
        nonlocal count
        for chunk in rows.chunks:
            count += len(chunk)
            yield chunk

    return replace(rows, chunks=chunks(), expected=lambda: count)


def _rows(query: BulkQuery, columns: tuple[str, ...]) -> SourceRows:
    members = ([_member(row) for row in chunk] for chunk in query.chunks())
    return SourceRows(columns, members, lambda: query.count)


def _member(row: Row) -> tuple[str, str | None]:
    member, contact, converted, lead, *account = row
    if contact or converted:
        return EntityType.CONTACT.value, contact or converted
    if lead:
        return EntityType.LEAD.value, lead
    if account and account[0]:
        return EntityType.ACCOUNT.value, account[0]
    return "CampaignMember", member
