"""The check of the login and of what the user may see and change."""

from pathlib import Path

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr, ValidationError

import campaign_sync
from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.salesforce.login import Login
from campaign_sync.crm.web_api.session import ApiSession
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.salesforce.conftest import OpenCrm
from campaign_sync_tests.crm.salesforce.org import CLIENT_ID, Fault, Org
from campaign_sync_tests.crm.salesforce.settings import salesforce_settings


def test_all_flaws_are_named_at_once(org: Org, open_crm: OpenCrm) -> None:
    org.hidden = {"Contact.HasOptedOutOfEmail", "Lead.IsConverted", "Contact.AccountId", "Individual.ShouldForget"}
    org.read_only = {"Contact.Newsletter__c", "ContactPointTypeConsent.DataUsePurposeId"}
    org.rows["DataUsePurpose"].clear()
    org.rows["ObjectPermissions"] = [row for row in org.rows["ObjectPermissions"] if row["SobjectType"] != "Lead"]
    with pytest.raises(CrmSetupError) as caught:
        open_crm().check(exports=True)
    for flaw in (
        "Contact.HasOptedOutOfEmail can't be read",
        "Lead.IsConverted can't be read",
        "Contact.AccountId can't be read",
        "Individual.ShouldForget can't be read",
        "ContactPointTypeConsent.DataUsePurposeId can't be set on a new record",
        "Contact.Newsletter__c can't be written",
        "no DataUsePurpose 'Press'",
        "may not see every record of Lead: grant View All Records",
        "lists no exports",
    ):
        assert flaw in str(caught.value)


def test_an_entry_for_a_field_that_is_not_there_is_named(open_crm: OpenCrm) -> None:
    with pytest.raises(CrmSetupError, match=r"crm\.contact\.city: Contact\.MailingTown can't be read"):
        open_crm(contact={"city": "MailingTown", "unused": "Nothing__c"}, columns=("city",)).check()


def test_view_all_data_is_enough_for_all_objects(org: Org, open_crm: OpenCrm) -> None:
    org.rows["ObjectPermissions"].clear()
    org.rows["PermissionSet"] = [{"Id": "set", "PermissionsViewAllData": True}]
    open_crm().check()


def test_a_user_who_may_not_see_its_own_permissions_gets_a_warning(
    org: Org, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    del org.fields["ObjectPermissions"]
    open_crm().check()
    assert "it isn't known whether sharing hides records" in caplog.text


@pytest.mark.parametrize("path", ["/describe", "PermissionSetAssignment", "DataUsePurpose"])
@pytest.mark.parametrize(
    ("status", "code", "message"), [(503, "SERVER_UNAVAILABLE", ""), (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests")]
)
def test_rights_that_cannot_be_read_now_are_no_flaw_and_are_not_taken_for_granted(
    org: Org, open_crm: OpenCrm, path: str, status: int, code: str, message: str
) -> None:
    org.faults.append(Fault(path, status, code, message, times=-1))
    with pytest.raises(CrmError, match="again later") as caught:
        open_crm().check()
    assert caught.value.retryable


def test_a_user_who_may_not_see_brands_gets_a_warning(
    org: Org, open_crm: OpenCrm, caplog: pytest.LogCaptureFixture
) -> None:
    open_crm().check()
    assert "a consent for one brand counts for all" in caplog.text
    caplog.clear()
    org.fields["ContactPointTypeConsent"]["BusinessBrandId"] = "reference"
    open_crm().check()
    assert "brand" not in caplog.text


def test_a_user_who_may_not_see_the_limits_can_read(org: Org, open_crm: OpenCrm) -> None:
    crm = open_crm()
    assert f"of {org.limit:,} API calls of 24 hours are left" in str(crm.limits_left())
    org.faults.append(Fault("/limits", 403, "FORBIDDEN", times=-1))
    assert crm.limits_left() is None
    with crm.snapshot():
        pass


def test_a_refused_login_is_explained_without_its_secrets(open_crm: OpenCrm) -> None:
    with pytest.raises(CrmSetupError, match=r"invalid_client.*crm\.client_secret") as caught:
        open_crm(client_secret=SecretStr("Geheimrath")).check()
    assert "Geheimrath" not in str(caught.value)


def test_a_login_that_may_succeed_later_is_no_mistake_of_the_configuration(org: Org, open_crm: OpenCrm) -> None:
    org.login_problem = "unknown_error"
    with pytest.raises(CrmError, match=r"unknown_error.*try again later") as caught:
        open_crm().check()
    assert not isinstance(caught.value, CrmSetupError)


def test_an_unknown_version_of_the_api_is_named(open_crm: OpenCrm) -> None:
    with pytest.raises(CrmSetupError, match=r"crm\.api_version"):
        open_crm(api_version="99.0").check()


def test_a_jwt_is_signed_for_the_user(org: Org, url: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    settings = salesforce_settings(url, client_secret=None, username="i@x", private_key=SecretStr(private))
    form = Login(settings)._form()
    claims = jwt.decode(
        form["assertion"], key.public_key(), algorithms=["RS256"], audience="https://login.salesforce.com"
    )
    assert (claims["iss"], claims["sub"]) == (CLIENT_ID, "i@x")
    assert Login(settings)(ApiSession("Salesforce", url, lambda _: "", lambda _: None)) == "token0"
    wrong = salesforce_settings(url, client_secret=None, username="i@x", private_key=SecretStr("Geheimrath"))
    with pytest.raises(CrmError, match=r"crm\.private_key") as caught:
        Login(wrong)._form()
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"client_secret": None}, "exactly one of client_secret and private_key"),
        ({"username": "x"}, "needs username and private_key"),
        ({"opt_ins": {}}, "opt_ins is empty"),
        ({"account": {}}, "accounts have no address"),
        ({"contact": {"id": "Customer__c"}}, "id is always"),
        ({"api_version": "66"}, "api_version"),
        ({"opt_ins": {"a": {"mandator": "nord", "description": "d"}}}, "exactly one of field and purpose"),
    ],
)
def test_a_mistake_in_the_section_is_named(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        salesforce_settings("https://acme.my.salesforce.com", **changes)


def test_the_configuration_in_the_documentation_is_valid() -> None:
    document = Path(campaign_sync.__file__).parents[1] / "docs/crm-salesforce.md"
    section = yaml.safe_load(document.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0])["crm"]
    secrets = {name: SecretStr("x") for name in ("client_id", "client_secret")}
    settings = SalesforceSettings.model_validate({**section, **secrets})
    assert settings.field_of(EntityType.LEAD, "city") == "City"
