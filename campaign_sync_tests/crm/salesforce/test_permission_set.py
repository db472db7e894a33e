"""The permission set that ships as metadata: what Salesforce deploys, and what `check` asks for."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from campaign_sync.cli.commands import app
from campaign_sync.crm.port import CrmError, CrmNeeds, Pick
from campaign_sync.crm.salesforce.field_permissions import permission_field
from campaign_sync.crm.salesforce.permission_set import permission_set
from campaign_sync.crm.salesforce.required_objects import required_objects
from campaign_sync.crm.testing import EVERYBODY
from campaign_sync_tests.crm.salesforce.conftest import OpenCrm
from campaign_sync_tests.crm.salesforce.org import Org
from campaign_sync_tests.crm.salesforce.settings import salesforce_settings

FILE = "permissionsets/CampaignSync.permissionset"

TAG = "{http://soap.sforce.com/2006/04/metadata}"

URL = "https://acme.my.salesforce.com"

NEVER = {"id", "name", "firstname", "lastname", "company", "status", "isconverted", "converteddate", "individualid"}
NEVER |= {"convertedcontactid", "emailbouncedreason", "emailbounceddate", "ispersonaccount", "partyid", "capturedate"}
NEVER |= {"capturesource", "privacyconsentstatus", "contactpointtype", "capturecontactpointtype", "campaignid"}
"""Fields that Salesforce refuses in a permission set."""

OBJECTS = {"Contact", "Lead", "Account", "Campaign", "CampaignMember", "Individual", "DataUsePurpose"}
OBJECTS |= {"ContactPointTypeConsent"}


class Deployed:
    """The permissions of a file, after the rules of Salesforce for it."""

    def __init__(self, text: str) -> None:
        root = ET.fromstring(text)
        self.objects = {
            str(entry.findtext(f"{TAG}object")): {part.tag.removeprefix(TAG) for part in entry if part.text == "true"}
            for entry in root.iter(f"{TAG}objectPermissions")
        }
        self.fields = {
            str(entry.findtext(f"{TAG}field")): entry.findtext(f"{TAG}editable") == "true"
            for entry in root.iter(f"{TAG}fieldPermissions")
        }
        tags = [child.tag for child in root]
        assert tags == sorted(tags), "entries of a kind belong together"
        assert len(self.fields) == len({name.lower() for name in self.fields})
        for name in self.fields:
            sobject, _, field = name.partition(".")
            assert sobject in self.objects, "a field needs its object"
            assert "." not in field
            assert field.lower() not in NEVER
            assert not field.lower().endswith(("city", "street", "__pc", "__s"))
        assert all("allowRead" in rights for rights in self.objects.values())
        assert "CampaignMember" not in self.objects
        assert "Account" in self.objects, "contacts need accounts"

    def sees(self, sobject: str, field: str, *, edit: bool = False) -> bool:
        """Return whether a user with these permissions sees a field, or may edit it."""
        rights = self.objects.get("Campaign" if sobject == "CampaignMember" else sobject)
        if rights is None or (edit and not rights & {"allowEdit", "allowCreate"}):
            return False
        if (named := permission_field(sobject, field)) is None:
            return True
        name = ".".join(named)
        return self.fields.get(name, False) if edit else name in self.fields


def assign(org: Org, deployed: Deployed) -> None:
    """Let the user of the org have these permissions, and no others."""
    org.rows["ObjectPermissions"] = [
        {"ParentId": "set", "SobjectType": name, "PermissionsViewAllRecords": "viewAllRecords" in rights}
        for name, rights in deployed.objects.items()
    ]
    everything = [(name, field) for name in OBJECTS for field in org.fields[name]]
    org.hidden = {f"{name}.{field}" for name, field in everything if not deployed.sees(name, field)}
    org.read_only = {f"{name}.{field}" for name, field in everything if not deployed.sees(name, field, edit=True)}


def test_a_user_with_the_permission_set_passes_the_check_and_with_less_doesnt(org: Org, open_crm: OpenCrm) -> None:
    needs = CrmNeeds(frozenset({EVERYBODY}))
    deployed = Deployed(permission_set(salesforce_settings(URL), needs, person_accounts=True).files("66.0")[FILE])
    assign(org, deployed)
    open_crm().check()
    granted = [name for name in deployed.fields if name != "ContactPointTypeConsent.BusinessBrandId"]
    deployed.fields.clear()
    assign(org, deployed)
    with pytest.raises(CrmError) as caught:
        open_crm().check()
    assert [name for name in granted if name.rpartition(".")[2] not in str(caught.value)] == []


custom = st.from_regex(r"[A-Z][a-z]{0,3}[A-Z]?__c", fullmatch=True)
consent_fields = st.fixed_dictionaries({"granted": custom}, optional={"at": custom})
paths = st.sampled_from(["MailingCity", "City", "FirstName", "Account.Name", "Account.Tier__c", "OtherStreet", "Title"])
types = st.sampled_from(["contact", "lead"])


@settings(max_examples=25)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.dictionaries(types, consent_fields, min_size=1), min_size=1),
    st.booleans(),
    st.dictionaries(types, st.dictionaries(st.sampled_from(["city", "email", "x"]), paths | custom)),
    st.booleans(),
    st.sets(st.sampled_from(["city", "x", "Segment__c", "Title", "Firm__r.City__c", "Größe", "VISITS"])),
    st.booleans(),
)
def test_every_permission_set_can_be_deployed_and_grants_what_the_check_asks_for(
    opt_ins: dict[str, object],
    purpose: bool,
    names: dict[str, dict[str, str]],
    account: bool,
    columns: set[str],
    persons: bool,
) -> None:
    described = {"mandator": "nord", "description": "N"}
    section = {key: {**described, "field": field} for key, field in opt_ins.items()}
    section |= {"press": {**described, "purpose": "Press"}} if purpose else {}
    more = {"account": {"email": "Email__c"} if account else {}}
    crm = salesforce_settings(URL, **{"contact": {}, "lead": {}, **names, "opt_ins": section, **more})
    needs = CrmNeeds(frozenset(), frozenset(columns))
    wanted = permission_set(crm, needs, person_accounts=persons, individuals=persons)
    deployed = Deployed(wanted.files("66.0")[FILE])
    for required in required_objects(crm, has_person_accounts=persons):
        assert not required.is_complete or "viewAllRecords" in deployed.objects[required.name]
        assert all(deployed.sees(required.name, path) for path in required.read if "." not in path)
        assert all(deployed.sees(required.name, name, edit=True) for name in (*required.write, *required.create))
        assert not required.create or "allowCreate" in deployed.objects[required.name]


def test_columns_are_granted_where_they_are() -> None:
    names = {"contact": {"city": "MailingCity", "only": "Only__c"}, "lead": {"city": "City"}}
    columns = {"city", "only", "all__c", "Industry", "Account.Tier__c", "Firm__r.Name", "Home__City__s", "Visits"}
    needs = CrmNeeds(frozenset({Pick("report", "R")}), frozenset(columns))
    wanted = permission_set(salesforce_settings(URL, **names), needs)
    assert wanted.fields.keys() >= {"Contact.MailingAddress", "Lead.Address", "Contact.Only__c", "Lead.all__c"}
    assert wanted.fields.keys() >= {"Lead.Industry", "Account.Tier__c", "Contact.AccountId", "Contact.Firm__c"}
    assert "Contact.Home__c" in wanted.fields
    assert not wanted.fields.keys() & {"Lead.Only__c", "Contact.Industry", "Lead.AccountId", "Contact.Visits"}
    assert "Contact.Firm__r.Name" in wanted.by_hand
    assert wanted.user_permissions == ("ApiEnabled", "RunReports", "ViewRoles", "ViewSetup")
    assert ["viewAllFields" in wanted.files(version)[FILE] for version in ("62.0", "63.0")] == [False, True]


def test_the_command_writes_a_folder_to_deploy_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANY", "x")
    credential = {"env": "ANY"}
    field = {"contact": {"granted": "Newsletter__c", "at": "Newsletter_Date__c"}}
    login = {"adapter": "salesforce", "url": URL, "client_id": credential, "client_secret": credential}
    opt_ins = {"news": {"mandator": "nord", "description": "N", "field": field}}
    newsletter = {"recipient_list_id": 1, "kind": "regular", "opt_in_id": "news", "select": {"marketing_list": "N"}}
    mandator = {"mandator_id": 1, "username": credential, "password": credential, "schedule": "0 4 * * *"}
    document = {
        "optimizely": {"base_url": "https://api.campaign.episerver.net/soap11"},
        "crm": {**login, "contact": {"city": "MailingCity"}, "opt_ins": opt_ins},
        "mandators": {"nord": {**mandator, "lists": {"n": {**newsletter, "attributes": {"Ort": "city"}}}}},
    }
    (tmp_path / "campaign_sync.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    written = CliRunner().invoke(app, ["crm", "permission-set", "--output", "out"])
    assert "sf project deploy start --metadata-dir out" in written.output, written.exception
    deployed = Deployed((tmp_path / "out" / FILE).read_text(encoding="utf-8"))
    assert deployed.fields["Contact.Newsletter_Date__c"]
    assert deployed.fields["Contact.MailingAddress"] is False
    package = ET.fromstring((tmp_path / "out/package.xml").read_text(encoding="utf-8"))
    assert [part.text for part in package.iter() if not len(part)] == ["CampaignSync", "PermissionSet", "66.0"]
    again = CliRunner().invoke(app, ["crm", "permission-set", "--output", "out"])
    assert "exists, and isn't overwritten" in again.stderr
    (tmp_path / "campaign_sync.yaml").write_text(yaml.safe_dump({"crm": document["crm"]}), encoding="utf-8")
    CliRunner().invoke(app, ["crm", "permission-set", "--output", "first"], catch_exceptions=False)
    assert (tmp_path / "first" / FILE).read_bytes() == (tmp_path / "out" / FILE).read_bytes()
    (tmp_path / "campaign_sync.yaml").write_text("crm: {adapter: salesforce, opt_inns: {}}", encoding="utf-8")
    refused = CliRunner().invoke(app, ["crm", "permission-set", "--output", "second"])
    assert "crm.url: this key is required" in refused.stderr
    assert "opt_inns" in refused.stderr
