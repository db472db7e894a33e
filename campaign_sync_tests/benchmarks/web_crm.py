"""A CRM behind a web API, read completely: `python -m campaign_sync_tests.benchmarks.web_crm [CRM …] [ROWS …]`.

Salesforce (Bulk API 2.0) and Dataverse (FetchXML) with many contacts, half of them in a list, each with two consents:
in fields of the record, and in a record of its own. Each size has a process of its own; the server has another one,
and renders its pages beforehand. Measured are the first view of the CRM, a second one that reads the consents again,
and the selection of the list.

The baseline is a script as it would be written without the product: simple-salesforce or requests, pages into pandas,
and a merge. It reads each table once, with all columns, and compares no counts, remembers no consents and judges none.
"""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args
from xml.sax.saxutils import quoteattr

import pandas as pd
import requests
from pydantic import SecretStr
from rich.console import Console
from rich.table import Column, Table
from simple_salesforce.api import Salesforce

from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm import dataverse, salesforce
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.dataverse.consents import CONSENTS
from campaign_sync.crm.dataverse.fetch_xml import paging_cookie
from campaign_sync.crm.port import CrmNeeds, CrmSnapshot, Pick
from campaign_sync.storage.state import State
from campaign_sync_tests.benchmarks.arguments import parse_sizes
from campaign_sync_tests.benchmarks.large_crm import DATAVERSE_COLUMNS, LIST, PURPOSE, SALESFORCE_FIELDS, Kind, serve
from campaign_sync_tests.benchmarks.separate_process import apart, cpu_seconds, peak_mib
from campaign_sync_tests.crm.dataverse.stand_in import CLIENT, SECRET, TENANT
from campaign_sync_tests.crm.salesforce.org import CLIENT_ID, CLIENT_SECRET

_SIZES = (10_000, 100_000, 1_000_000)

_PICK = Pick("marketing_list", LIST)

_OPT_INS = ("newsletter", "events")

_MAX_AGE = timedelta(days=1)
"""Long enough for the second view to find what the first one read, on any machine."""

_NAMES = ("first_name", "last_name", "city", "street", "postal_code", "department", "title", "number")
"""The columns that the list uses beside the address."""

_SALESFORCE_COLUMNS = dict(zip(_NAMES, ("FirstName", "LastName", "MailingCity", *SALESFORCE_FIELDS), strict=True))
_DATAVERSE_COLUMNS = dict(zip(_NAMES, ("firstname", "lastname", "address1_city", *DATAVERSE_COLUMNS), strict=True))


@dataclass(frozen=True)
class Part:
    """The measurements of a part of the work."""

    name: str
    wall: float
    cpu: float
    peak: float
    """MiB of the whole process."""
    calls: int


def settings_of(kind: Kind, url: str) -> Any:
    """Return the section `crm`."""
    return _salesforce_settings(url) if kind == "salesforce" else _dataverse_settings(url)


def _salesforce_settings(url: str) -> SalesforceSettings:
    return SalesforceSettings.model_validate(
        {
            "adapter": "salesforce",
            "url": url,
            "client_id": SecretStr(CLIENT_ID),
            "client_secret": SecretStr(CLIENT_SECRET),
            "contact": _SALESFORCE_COLUMNS,
            "lead": {"city": "City"},
            "people_max_age": _MAX_AGE,
            "opt_ins": _opt_ins({"granted": "Newsletter__c", "at": "Newsletter_Date__c"}),
        }
    )


def _dataverse_settings(url: str) -> DataverseSettings:
    return DataverseSettings.model_validate(
        {
            "url": url,
            "login_url": url,
            "tenant_id": TENANT,
            "client_id": SecretStr(CLIENT),
            "client_secret": SecretStr(SECRET),
            "contact": _DATAVERSE_COLUMNS,
            "lead": None,
            "account": None,
            "bounce": {"contact": {"state": "cs_bounced", "at": "cs_bouncedon"}},
            "people_max_age": _MAX_AGE,
            "opt_ins": _opt_ins({"granted": "cs_news", "at": "cs_newson"}),
        }
    )


def _opt_ins(field: dict[str, str]) -> dict[str, object]:
    newsletter = {"mandator": "nord", "description": "Newsletter", "field": {"contact": field}}
    return {"newsletter": newsletter, "events": {"mandator": "nord", "description": "Events", "purpose": PURPOSE}}


def ours(kind: Kind, url: str, calls: Any, rows: int, folder: str) -> Callable[[], list[Part]]:
    """Return the work of the product: a first view, a second one, and the selection of the list."""
    state = State(f"sqlite:///{Path(folder, 'state.db')}")
    needs = CrmNeeds(frozenset({_PICK}), frozenset(_NAMES))
    adapter = salesforce.ADAPTER if kind == "salesforce" else dataverse.ADAPTER
    crm = adapter.open(settings_of(kind, url), CrmContext(needs, state.consent_memory(), Path(folder, "copies")))

    def work() -> list[Part]:
        context = crm.snapshot(_OPT_INS)
        first, _ = _part("first view", calls, context.__enter__)
        context.__exit__(None, None, None)
        context = crm.snapshot(_OPT_INS)
        second, snapshot = _part("second view", calls, context.__enter__)
        selected, size = _part("select the list", calls, lambda: _selected(snapshot))
        context.__exit__(None, None, None)
        assert size * 2 == rows, f"{size} of {rows} people are in the list"
        return [first, second, selected]

    return work


def _selected(snapshot: CrmSnapshot) -> int:
    return sum(len(frame) for frame in snapshot.select(_PICK, _OPT_INS[0], list(_NAMES)))


def _part(name: str, calls: Any, work: Callable[[], Any]) -> tuple[Part, Any]:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    wall, cpu, before = time.monotonic(), cpu_seconds(), calls.value
    result = work()
    wall, cpu = time.monotonic() - wall, cpu_seconds() - cpu
    return Part(name, wall, cpu, peak_mib(), calls.value - before), result


def baseline(kind: Kind, url: str, calls: Any) -> Callable[[], list[Part]]:
    """Return the work of the script."""
    script = by_simple_salesforce if kind == "salesforce" else by_requests
    return lambda: [_part("the script", calls, lambda: script(url))[0]]


def by_simple_salesforce(url: str) -> "pd.DataFrame":
    """Return the recipients of both opt-ins in the list, by simple-salesforce."""
    api: Any = Salesforce(instance=url.removeprefix("http://"), session_id="token0", version="66.0")
    api.bulk2_url = api.bulk2_url.replace("https://", "http://")

    def read(sobject: str, columns: str, condition: str = "") -> "pd.DataFrame":
        pages = getattr(api.bulk2, sobject).query(f"SELECT {columns} FROM {sobject}{condition}", wait=0)
        return pd.concat([pd.read_csv(io.StringIO(page), dtype=str) for page in pages], ignore_index=True)

    consent = "HasOptedOutOfEmail, Newsletter__c, Newsletter_Date__c, EmailBouncedDate"
    contacts = read("Contact", f"Id, Email, IndividualId, {consent}, {', '.join(_SALESFORCE_COLUMNS.values())}")
    members = read("CampaignMember", "ContactId", " WHERE CampaignId = '701000000000001AAA'")
    consents = read(
        "ContactPointTypeConsent",
        "PartyId, PrivacyConsentStatus, CaptureDate",
        " WHERE ContactPointType = 'Email' AND DataUsePurposeId = '0ZW000000000001AAA'",
    )
    events = consents.loc[consents["PrivacyConsentStatus"] == "OptIn", "PartyId"]
    contacts["events"] = contacts["IndividualId"].isin(events)
    chosen = (contacts["Newsletter__c"] == "true") & (contacts["HasOptedOutOfEmail"] == "false")
    wanted = contacts[chosen & contacts["EmailBouncedDate"].isna()]
    return wanted.merge(members, left_on="Id", right_on="ContactId")


def by_requests(url: str) -> "pd.DataFrame":
    """Return the recipients of both opt-ins in the list, by requests."""
    session = requests.Session()
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    token = session.post(f"{url}/{TENANT}/oauth2/v2.0/token", data=form, timeout=60).json()["access_token"]
    annotations = 'odata.include-annotations="Microsoft.Dynamics.CRM.*"'
    session.headers.update({"Authorization": f"Bearer {token}", "Prefer": annotations})

    def pages(entity: str, columns: list[str]) -> Iterator["pd.DataFrame"]:
        number, cookie, more = 1, "", True
        attributes = "".join(f'<attribute name="{name}"/>' for name in columns)
        while more:
            fetch = f'<fetch page="{number}" count="5000"{cookie}><entity name="{entity}">{attributes}</entity></fetch>'
            page = session.get(f"{url}/api/data/v9.2/{entity}s", params={"fetchXml": fetch}, timeout=60).json()
            yield pd.DataFrame.from_records(page["value"])
            number, more = number + 1, page["@Microsoft.Dynamics.CRM.morerecords"]
            continued = paging_cookie(page.get("@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"))
            cookie = f" paging-cookie={quoteattr(continued or '')}"

    def read(entity: str, columns: list[str]) -> "pd.DataFrame":
        return pd.concat(pages(entity, columns), ignore_index=True)

    own = ["donotbulkemail", "donotemail", "cs_news", "cs_newson", "cs_bounced", *_DATAVERSE_COLUMNS.values()]
    contacts = read("contact", ["contactid", "emailaddress1", *own])
    members = read("listmember", ["listmemberid", "entityid"])
    consents = read(CONSENTS, [f"{CONSENTS}id", "msdynmkt_contactpointvalue", "msdynmkt_value", "modifiedon"])
    events = consents.loc[consents["msdynmkt_value"] == 534120001, "msdynmkt_contactpointvalue"]
    contacts["events"] = contacts["emailaddress1"].isin(events)
    unwanted = contacts["donotbulkemail"] | contacts["donotemail"] | contacts["cs_bounced"]
    wanted = contacts[contacts["cs_news"] & ~unwanted]
    return wanted.merge(members, left_on="contactid", right_on="_entityid_value")


def measured(kind: Kind, rows: int) -> tuple[list[Part], float]:
    """Measure the product and the script, and return the CPU seconds of the server as well."""
    with serve(kind, rows) as crm, TemporaryDirectory(prefix="campaign-sync-benchmark-") as folder:
        before = crm.process.cpu_seconds
        parts = apart(ours, kind, crm.url, crm.calls, rows, folder).result
        served = crm.process.cpu_seconds - before
        script = apart(baseline, kind, crm.url, crm.calls).result
    return [*parts, *script], served


def add_to(table: Table, rows: int, parts: list[Part], served: float, before: dict[str, float]) -> None:
    """Add the lines of a size; `before` has the CPU time per person of the size before, and gets that of this one."""
    table.add_section()
    table.add_row(f"{rows:,} people")
    whole = parts[0].cpu + parts[2].cpu
    for part in parts:
        per_person = part.cpu / rows * 1e6
        growth = f"{per_person / before[part.name]:.2f}" if part.name in before else ""
        before[part.name] = per_person
        cells = f"{part.wall:.1f}", f"{part.cpu:.1f}", f"{per_person:.1f}", growth, f"{part.peak:,.0f}"
        ratio = f"{whole / part.cpu:.1f}" if part is parts[-1] else ""
        table.add_row(part.name, *cells, f"{part.calls:,}" if part.calls else "", ratio)
    table.add_row("the server, for ours", "", f"{served:.1f}", f"{served / rows * 1e6:.1f}")


def main() -> None:
    """Measure and print."""
    row_counts, kinds = parse_sizes(__doc__, _SIZES, get_args(Kind))
    names = ("wall, s", "CPU, s", "µs a person", "× a person", "peak, MiB", "calls", "ours / this")
    for kind in kinds:
        table = Table(kind, *(Column(name, justify="right") for name in names))
        table.caption = "ours / this: the CPU time of the first view and the selection"
        before: dict[str, float] = {}
        try:
            for rows in row_counts:
                add_to(table, rows, *measured(kind, rows), before)
        finally:
            Console(width=120).print(table)


if __name__ == "__main__":
    main()
