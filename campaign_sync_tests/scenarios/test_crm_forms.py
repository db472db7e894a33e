"""The same people in five CRMs: the same lists, the same withdrawals and bounces, whatever the CRM is made of."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from campaign_sync.cli.run import problems
from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.recipient import ADDRESS
from campaign_sync.replacement.live_suppression import PEOPLE_COLUMNS
from campaign_sync.sandbox import demo_people
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.crm.dataverse import stand_in as dynamics
from campaign_sync_tests.crm.salesforce import org as salesforce
from campaign_sync_tests.crm_forms.contract_tables import ContractTables
from campaign_sync_tests.crm_forms.dataverse import LEADS, DynamicsCrm
from campaign_sync_tests.crm_forms.delivered_files import DeliveredFiles
from campaign_sync_tests.crm_forms.population import NEWSLETTER, PARTNERS, STAFF, Columns, Population, populate
from campaign_sync_tests.crm_forms.rows import DataverseRows, OrgRows
from campaign_sync_tests.crm_forms.salesforce import Salesforce, org_for_forms
from campaign_sync_tests.crm_forms.suitecrm import SuiteCrm
from campaign_sync_tests.crm_forms.web_form import WebForm
from campaign_sync_tests.installation import ATTRIBUTES, ENVIRONMENT, NORD, Installation, epoch_ms
from campaign_sync_tests.replacement.opt_outs import record_at_once

PEOPLE = 500
OPT_IN = "newsletter-nord"
LISTS = {"newsletter": 100000000011, "partners": 100000000012, "south": 100000000013}

LEADS_LIST = 100000000014
"""The leads of the newsletter, where they are a marketing list of their own."""


class CrmForm(Protocol):
    settings: dict[str, Any]

    def store(self, population: Population) -> None: ...
    def opt_out(self, address: str) -> None: ...
    def grant(self, address: str, at: datetime) -> None: ...
    def grant_undated(self, address: str) -> None: ...
    def add(self, entity: Entity, columns: Columns, marketing_list: str, at: datetime) -> None: ...
    def move(self, entity: Entity, email: str, at: datetime) -> None: ...
    def delete(self, entity: Entity) -> None: ...
    def withdrawn(self) -> set[str]: ...
    def bounced(self) -> set[str]: ...


@dataclass
class Site:
    """An installation on one form of the CRM."""

    crm: CrmForm
    installation: Installation

    def day(self) -> None:
        """Let a day pass: a delivery where there are any, then the daily run."""
        if isinstance(self.crm, DeliveredFiles):
            self.crm.deliver()
        result = self.installation.run()
        assert result.success, problems(result)

    def lists(self) -> dict[str, list[tuple[str, tuple[tuple[str, str | None], ...]]]]:
        """Return all rows of all lists as the vendor has them, sorted."""
        rows = {name: self._rows(list_id) for name, list_id in LISTS.items()}
        if isinstance(self.crm, DynamicsCrm):
            rows["newsletter"] += self._rows(LEADS_LIST)
        return {name: sorted(of_list) for name, of_list in rows.items()}

    def _rows(self, list_id: int) -> list[tuple[str, tuple[tuple[str, str | None], ...]]]:
        ids = self.crm.original_ids() if isinstance(self.crm, WebForm) else {}
        return [
            (
                recipient["id"],
                tuple(sorted((name, ids.get(value or "", value)) for name, value in recipient["attributes"].items())),
            )
            for recipient in self.installation.vendor.recipients(list_id)
        ]

    def addresses(self) -> set[str]:
        """Return everybody who is in a list."""
        return {row[0] for rows in self.lists().values() for row in rows}

    def leave(self, address: str) -> None:
        """Unsubscribe an address at the vendor."""
        self.installation.leave(address)

    def bounce(self, address: str) -> None:
        """Report an address that bounced."""
        row = [address, epoch_ms(datetime.now(UTC) - timedelta(hours=1)), "hard"]
        self.installation.vendor.publish(NORD, "getOutBounces", [row])


def _installed(folder: Path, crm: CrmForm, vendor: VendorState, base_url: str) -> Installation:
    lists = LISTS | ({"leads": LEADS_LIST} if isinstance(crm, DynamicsCrm) else {})
    for name, list_id in lists.items():
        vendor.add_list(NORD, list_id, name, [*ATTRIBUTES, "Firma"])
    installation = Installation(folder, vendor, base_url, "unused", f"sqlite:///{folder / 'state.db'}")
    is_suite = isinstance(crm, SuiteCrm)
    city, company = ("primary_address_city", "name") if is_suite else ("city", "company")
    people = {"Vorname": "first_name", "Nachname": "last_name", "Ort": city}
    picks: dict[str, dict[str, Any]] = {
        "newsletter": {"select": {"marketing_list": NEWSLETTER}, "exclude": [{"marketing_list": STAFF}]},
        "partners": {"select": {"marketing_list": PARTNERS}},
        "south": {
            "select": {
                "entity_type": "contact",
                "filter": {"field": city, "in": [name for _, name in demo_people.SOUTH]},
            }
        },
    }
    # Who is a contact, too, is in the newsletter as a contact.
    picks["leads"] = {
        "select": {"marketing_list": LEADS},
        "exclude": [{"marketing_list": STAFF}, {"marketing_list": NEWSLETTER}],
    }
    if isinstance(crm, WebForm):
        installation.environment |= crm.secrets
    settings = installation.settings
    settings["crm"] = crm.settings | ({"people_max_age": "1s"} if is_suite or isinstance(crm, WebForm) else {})
    settings["storage"]["crm_copies"] = str(folder / "copies")
    del settings["mandators"]["sued"]
    settings["mandators"]["nord"]["lists"] = {
        name: {
            "recipient_list_id": list_id,
            "kind": "regular",
            "opt_in_id": OPT_IN,
            "attributes": {"Firma": company, "Ort": f"{'billing_address_' if is_suite else ''}city"}
            if name == "partners"
            else people,
            "limits": {"max_shrink": 0.9, "max_growth": 9},
            **picks[name],
        }
        for name, list_id in lists.items()
    }
    return installation


@pytest.fixture
def sites(tmp_path: Path, postgres_url: str, mariadb_url: str) -> Iterator[list[Site]]:
    """Yield one installation for each form, with the same people."""
    population, org, environment = populate(PEOPLE), org_for_forms(), dynamics.Dataverse()
    with ExitStack() as stack:
        forms: list[CrmForm] = [
            ContractTables(postgres_url, OPT_IN, "nord"),
            SuiteCrm(mariadb_url, OPT_IN, "nord"),
            DeliveredFiles(tmp_path / "files", OPT_IN, "nord"),
            Salesforce(OrgRows(org), stack.enter_context(salesforce.serving(org)), OPT_IN, "nord"),
            DynamicsCrm(DataverseRows(environment), stack.enter_context(dynamics.serving(environment)), OPT_IN, "nord"),
        ]
        built = []
        for form in forms:
            form.store(population)
            folder = tmp_path / type(form).__name__
            folder.mkdir()
            vendor = VendorState(folder / "vendor.db")
            stack.callback(vendor.close)
            vendor.add_mandator(NORD, ENVIRONMENT["USERNAME_OF_BOTH"], ENVIRONMENT["PASSWORD_OF_BOTH"])
            built.append(Site(form, _installed(folder, form, vendor, stack.enter_context(serve(vendor)))))
        yield built


def _same(sites: list[Site]) -> Site:
    """Return the first site, whose lists must equal those of the others."""
    first, *others = sites
    expected = first.lists()
    for site in others:
        lists = site.lists()
        differing = {name: set(rows) ^ set(expected[name]) for name, rows in lists.items()}
        assert not any(differing.values()), (type(site.crm).__name__, differing)
        assert lists == expected, type(site.crm).__name__
    return first


@pytest.mark.long
def test_the_same_people_in_five_crms_get_into_the_same_lists(sites: list[Site]) -> None:
    population = populate(PEOPLE)
    for site in sites:
        site.day()
    first = _same(sites)
    assert all(first.lists().values())

    # Day two: people leave on both sides, others come, move and go.
    reached = first.addresses()
    contacts = [
        entity
        for entity in population.members[NEWSLETTER]
        if entity.entity_type is EntityType.CONTACT and address_key(population.records[entity]["email"]) in reached
    ]
    addresses = [address_key(population.records[entity]["email"]) or "" for entity in contacts]
    unsubscribed, bounced, opted_out = addresses[:8], addresses[8:12], addresses[12:20]
    moved, gone = contacts[20:24], contacts[24:27]
    now = datetime.now(UTC)
    for site in sites:
        for address in unsubscribed:
            site.leave(address)
        for address in bounced:
            site.bounce(address)
        for address in opted_out:
            site.crm.opt_out(address)
        for number in range(3):
            entity = Entity(EntityType.CONTACT, f"cnew{number}")
            columns = {**population.records[contacts[0]], "email": f" New{number}@Example.org", "last_name": "Groß"}
            site.crm.add(entity, columns, NEWSLETTER, now - timedelta(hours=2))
        for number, entity in enumerate(moved):
            site.crm.move(entity, f"moved{number}@example.org", now - timedelta(hours=2))
        for entity in gone:
            site.crm.delete(entity)
        site.day()
    first = _same(sites)
    assert first.addresses().isdisjoint([*unsubscribed, *bounced, *opted_out])
    assert {f"moved{number}@example.org" for number in range(4)} < first.addresses()
    assert {f"new{number}@example.org" for number in range(3)} < first.addresses()
    for site in sites:
        assert site.crm.withdrawn() == set(unsubscribed), type(site.crm).__name__
        assert site.crm.bounced() == set(bounced), type(site.crm).__name__

    # Day three: some consent again with a date, others only lose the flag, as in a CRM that was restored.
    again, undated = opted_out[:3], [*opted_out[3:5], *unsubscribed[:2]]
    for site in sites:
        for address in again:
            site.crm.grant(address, datetime.now(UTC) + timedelta(seconds=2))
        for address in undated:
            site.crm.grant_undated(address)
        site.day()
    first = _same(sites)
    assert set(again) < first.addresses()
    assert first.addresses().isdisjoint([*undated, *unsubscribed, *opted_out[3:]])
    for site in sites:  # a flag that was removed in the CRM isn't set again by the same unsubscribe
        removed = undated if isinstance(site.crm, SuiteCrm | WebForm) else []
        assert site.crm.withdrawn() == set(unsubscribed).difference(removed), type(site.crm).__name__


@pytest.mark.long
def test_two_groups_of_lists_that_see_the_same_people_leave_withdraw_them_in_every_crm(sites: list[Site]) -> None:
    for site in sites:
        site.day()
        with site.installation.state() as state:
            stored = state.snapshots.newest()["nord", "south"]
        frames = FileStorage(site.installation.configuration.storage.frames)
        people = frames.read_frame(stored.file, stored.digest, PEOPLE_COLUMNS)[:8]
        assert record_at_once(site.installation, ("newsletter", "south"), people) == [], type(site.crm).__name__
        site.day()
        assert site.crm.withdrawn() == {address_key(address) for address in people[ADDRESS]}, type(site.crm).__name__
        assert site.addresses().isdisjoint(people[ADDRESS]), type(site.crm).__name__
