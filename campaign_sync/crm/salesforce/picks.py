"""The people of campaigns, reports, list views and queries."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from campaign_sync.crm.mirror.source import MEMBER_COLUMNS, SourceRows
from campaign_sync.crm.port import CrmSetupError, Pick
from campaign_sync.crm.salesforce.api import SalesforceApi, literal
from campaign_sync.crm.salesforce.bulk import BulkQuery, Row
from campaign_sync.crm.salesforce.ids import entity_type_of_id, long_id
from campaign_sync.crm.salesforce.named_records import id_of, records_named
from campaign_sync.crm.salesforce.reports import Report
from campaign_sync.crm.salesforce.schema import OBJECTS, Schema
from campaign_sync.domain.entity import EntityType

_QUERY = re.compile(r"\s*SELECT\s+([A-Za-z][\w.]*)\s+FROM\s+(.+?)\s*;?\s*", re.IGNORECASE | re.DOTALL)

_TEXTS = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)

_VIEW = re.compile(
    r"SELECT .+? FROM (?P<object>\w+)(?: USING SCOPE (?P<scope>\w+))?(?: (?P<where>WHERE .+))?",
    re.IGNORECASE | re.DOTALL,
)

_TYPES = {sobject: entity_type for entity_type, sobject in OBJECTS.items()}

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
    columns: Collection[str] = ()
    """The columns that lists name; reports may have some of them."""

    def rows(self, pick: Pick) -> SourceRows:
        """Return everybody in a pick. See `SourceReader.pick`.

        Raises:
            CrmError: Salesforce has no such pick, or it can't be read completely.
        """
        match pick.kind:
            case "marketing_list":
                return self._campaign(pick)
            case "report":
                source = self._report_or_view(pick)
                return source.rows(self.columns) if isinstance(source, Report) else _members_of(*source)
            case "query" if pick.entity_type:
                return self._query(pick, pick.entity_type)
            case _:
                raise CrmSetupError(f"a {pick.kind} without an entity type can't be read from Salesforce")

    def _campaign(self, pick: Pick) -> SourceRows:
        campaign = id_of(self.api, "Campaign", pick.name, f"the {pick.title}")
        has_accounts = self.schema.has("CampaignMember", "AccountId")
        # A member that was a lead when it was added, and is a contact now, has both.
        paths = ["Id", "ContactId", "Lead.ConvertedContactId", "LeadId", *(["AccountId"] if has_accounts else [])]
        source = f"CampaignMember WHERE CampaignId = {literal(campaign)}"
        return _rows(BulkQuery(self.api, paths, source, f"the {pick.title}"), MEMBER_COLUMNS)

    def _query(self, pick: Pick, entity_type: EntityType) -> SourceRows:
        query = self._query_of(pick)
        return _members_of(query, entity_type)

    def _report_or_view(self, pick: Pick) -> "Report | tuple[BulkQuery, EntityType]":
        """Return the report of this name or id, or else the list view.

        Raises:
            CrmError: there is neither, or there are several.
        """
        title = f"the {pick.title}"
        reports = records_named(self.api, "Report", pick.name, title)
        listed = records_named(self.api, "ListView", pick.name, title, ("Id", "Name", "SobjectType"))
        views = [row for row in listed if row["SobjectType"] in _TYPES]
        if len(reports) + len(views) != 1:
            ids = sorted(row["Id"] for row in (*reports, *views))
            raise CrmSetupError(
                f"{title}: Salesforce has {len(ids) or 'no'} reports and list views of this name for the user; "
                + (f"name it by its id: {', '.join(ids)}" if ids else "correct the name, or share its folder")
            )
        if reports:
            return Report(self.api, str(reports[0]["Id"]), title)
        sobject = str(views[0]["SobjectType"])
        return view_query(self.api, sobject, str(views[0]["Id"]), title), _TYPES[sobject]

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


def view_query(api: SalesforceApi, sobject: str, view_id: str, title: str) -> BulkQuery:
    """Return the query of a list view.

    Raises:
        CrmError: it is relative to who looks: "my" records are those of the integration user.
    """
    path = f"/sobjects/{sobject}/listviews/{quote(view_id)}/describe"
    described = api.document("GET", path, f"describing {title}", has=("query",))
    match = _VIEW.fullmatch(_without_order(str(described["query"])))
    if (
        match is None
        or match["scope"] not in (None, "everything")
        or described.get("scope") not in (None, "everything")
    ):
        raise CrmSetupError(
            f"{title} shows only some records of each user, such as their own; filter it by all records, or select a "
            "campaign or query instead"
        )
    return BulkQuery(api, ["Id"], f"{match['object']} {match['where'] or ''}".strip(), title)


def _without_order(soql: str) -> str:
    masked = _TEXTS.sub(lambda match: "x" * len(match[0]), soql)
    position = masked.upper().rfind(" ORDER BY ")
    return soql[:position] if position >= 0 else soql


def _members_of(query: BulkQuery, entity_type: EntityType) -> SourceRows:
    """Return the records whose ids a query yields. Rows without an id are none."""
    count = 0

    def chunks() -> Iterator[Sequence[tuple[str, str]]]:
        nonlocal count
        for chunk in query.chunks():
            members = [(entity_type.value, long_id(row[0])) for row in chunk if row[0]]
            others = {entity_type_of_id(record_id) for _, record_id in members} - {None, entity_type}
            if others:
                named = ", ".join(sorted(other.value for other in others if other))
                raise CrmSetupError(
                    f"{query.title} yields ids of another entity type ({named}) than {entity_type.value}; correct "
                    "entity_type, or the query"
                )
            count += len(members)
            yield members

    return SourceRows(MEMBER_COLUMNS, chunks(), lambda: count, entity_type)


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
