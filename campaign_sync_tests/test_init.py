import io
import re
import sqlite3
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, text

import campaign_sync
from campaign_sync.cli.crm_url import read_crm_url
from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.init import MOST_PICKS, configuration_text, write_first_configuration
from campaign_sync.config import load_configuration
from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.outline import Choice, CrmOutline, column_choices
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.schema import create_crm
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.dataverse import stand_in as dataverse
from campaign_sync_tests.crm.salesforce import org as salesforce

ROOT = Path(campaign_sync.__file__).parents[1]
UGLY = 'Größe "A": #1, it\'s {so}'


def chosen(text: str, *parts: str) -> str:
    """Return a first configuration with the choices that contain these, and the rest filled in."""
    lines = [line.replace("#- ", "") if any(part in line for part in parts) else line for line in text.splitlines()]
    filled = "\n".join(lines).replace("CLIENT_NUMBER_IN_CAMPAIGN", "8100").replace("LIST_NUMBER_IN_CAMPAIGN", "1")
    return filled.replace("NAME_OF_AN_OPT_IN", re.split(r"[: ]", parts[0])[0])


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATAVERSE_CLIENT_ID": dataverse.CLIENT,
        "DATAVERSE_CLIENT_SECRET": dataverse.SECRET,
        "SALESFORCE_CLIENT_ID": salesforce.CLIENT_ID,
        "SALESFORCE_CLIENT_SECRET": salesforce.CLIENT_SECRET,
        "NORD_USERNAME": "nord",
        "NORD_PASSWORD": "invented",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("credentials")
def test_what_dynamics_365_has_becomes_a_configuration_to_choose_from(tmp_path: Path) -> None:
    crm, file = dataverse.Dataverse(), tmp_path / "first.yaml"
    purpose = crm.add("msdynmkt_purpose", msdynmkt_name="Press releases")
    crm.add("msdynmkt_topic", msdynmkt_name="Events", msdynmkt_purposeid=purpose)
    crm.add("list", listname=UGLY, createdfromcode=2)
    crm.add("list", listname="Old", createdfromcode=2, statecode=1)
    crm.add("savedquery", name="Active contacts", returnedtypecode="contact")
    with dataverse.serving(crm) as url:
        outline = write_first_configuration(
            "dataverse", [f"url={url}", f"login_url={url}", f"tenant_id={dataverse.TENANT}"], file
        )
    assert len(outline.picks) == 2
    text = file.read_text(encoding="utf-8")
    assert dataverse.SECRET not in text
    file.write_text(
        chosen(text, "press_releases: {mandator", "contact: {state: cs_bounced", "select: {marketing_list"),
        encoding="utf-8",
    )
    configuration = load_configuration(file)
    assert isinstance(configuration.crm, DataverseSettings)
    assert configuration.crm.opt_ins["press_releases"].purpose == "Press releases"
    assert configuration.mandators["nord"].lists["newsletter"].select.marketing_list == UGLY
    file.write_text(
        chosen(text, "events: {mandator", "contact: {state: cs_bounced", "Active contacts", "lead: null"),
        encoding="utf-8",
    )
    without_leads = load_configuration(file).crm
    assert isinstance(without_leads, DataverseSettings)
    assert without_leads.opt_ins["events"].topic == "Events"
    assert EntityType.LEAD not in without_leads.people()
    file.write_text(chosen(text, "cs_news: {mandator", "contact: {state: cs_bounced", "Active contacts"), "utf-8")
    opt_in = load_configuration(file).crm.opt_ins["cs_news"]
    assert opt_in.field[EntityType.CONTACT].at == "cs_newson"  # type: ignore[attr-defined]
    assert "cs_consentlog" in text


@pytest.mark.usefixtures("credentials")
def test_what_salesforce_has_becomes_a_configuration_to_choose_from(tmp_path: Path) -> None:
    crm, file = salesforce.Org(), tmp_path / "first.yaml"
    crm.add("Campaign", Name="Newsletter Nord")
    crm.add("DataUsePurpose", Name="Press")
    crm.add("Report", Name="Visitors")
    crm.add("ListView", Name="Everybody in Bonn", SobjectType="Contact")
    crm.add("ListView", Name="Deals", SobjectType="Opportunity")
    with salesforce.serving(crm) as url:
        outline = write_first_configuration("salesforce", [f"url={url}"], file)
    assert [next(iter(pick.settings.values())) for pick in outline.picks] == [
        *("Newsletter Nord", "Visitors", "Everybody in Bonn")
    ]
    text = file.read_text(encoding="utf-8")
    file.write_text(chosen(text, "newsletter: {mandator", "Newsletter Nord"), encoding="utf-8")
    configuration = load_configuration(file)
    assert isinstance(configuration.crm, SalesforceSettings)
    fields = configuration.crm.opt_ins["newsletter"].field[EntityType.LEAD]
    assert (fields.granted, fields.at) == ("Newsletter__c", "Newsletter_Date__c")
    assert configuration.crm.field_of(EntityType.CONTACT, "city") == "MailingCity"
    assert "{Vorname: FirstName, Ort: city}" in text


@pytest.mark.usefixtures("credentials")
def test_the_lists_of_a_database_become_a_configuration_to_choose_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, file = f"sqlite:///{tmp_path / 'crm.db'}", tmp_path / "first.yaml"
    create_crm(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO marketing_list VALUES ('1', :name, 'contact', 'static', NULL)"), {"name": UGLY}
        )
        connection.execute(text("INSERT INTO opt_in VALUES ('newsletter-nord', 'nord', 'Newsletter', 'email')"))
    engine.dispose()
    monkeypatch.setenv("SQL_URL", url)
    write_first_configuration("sql", [], file)
    written = file.read_text("utf-8")
    assert "# the table opt_in has newsletter-nord" in written
    file.write_text(chosen(written, "select: {marketing_list").replace("NAME_OF_AN_OPT_IN", "newsletter-nord"), "utf-8")
    configuration = load_configuration(file)
    assert configuration.mandators["nord"].lists["newsletter"].select.marketing_list == UGLY
    assert url not in written


@pytest.mark.usefixtures("credentials")
def test_a_database_of_another_schema_names_the_preset_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite3.connect(tmp_path / "crm.db").close()
    monkeypatch.setenv("SQL_URL", f"sqlite:///{tmp_path / 'crm.db'}")
    with pytest.raises(CrmError, match=r"--set preset=suitecrm, or map its tables: .*crm-sql\.md"):
        write_first_configuration("sql", [], tmp_path / "first.yaml")
    assert not (tmp_path / "first.yaml").exists()


@pytest.mark.usefixtures("credentials")
def test_files_become_a_configuration_and_what_is_missing_is_asked_in_a_terminal(tmp_path: Path) -> None:
    asked, file = [], tmp_path / "first.yaml"

    def ask(question: str) -> str:
        asked.append(question)
        return "/import"

    write_first_configuration("files", ["url=/export"], file, ask)
    (question,) = asked
    assert question.startswith("write_back")
    file.write_text(chosen(file.read_text("utf-8"), "newsletter: {mandator", "NAME_OF_A_LIST"), "utf-8")
    crm = load_configuration(file).crm
    assert isinstance(crm, FilesSettings)
    assert (crm.url, crm.write_back) == ("/export", "/import")


@pytest.mark.parametrize(
    ("url", "variable", "problem"),
    [
        ("postgresql://me:sesame@db/crm", None, "--url has a password in it"),
        ("postgresql://me:se@same@db/crm", None, "--url has a password in it"),
        (None, None, "name the CRM's database by CRM_URL"),
    ],
)
def test_a_password_is_never_an_argument(
    url: str | None, variable: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRM_URL", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match=re.escape(problem)) as caught:
        read_crm_url(url, None)
    assert "same" not in str(caught.value)


def test_the_crm_is_named_by_variable_file_or_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("sqlite:///from-file.db\n")
    monkeypatch.setenv("CRM_URL", "postgresql://me:sesame@db/crm")
    assert read_crm_url(None, None) == ("postgresql://me:sesame@db/crm", "CRM_URL")
    assert read_crm_url(None, tmp_path / "url") == ("sqlite:///from-file.db", "--url-file")
    assert read_crm_url("sqlite:///crm.db", None) == ("sqlite:///crm.db", "--url")


@pytest.mark.parametrize("example", sorted((ROOT / "docs/examples").glob("*.yaml")), ids=lambda path: path.name)
@pytest.mark.usefixtures("credentials")
def test_every_example_is_a_configuration(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_URL", "postgresql://me:sesame@db.example.org/crm")
    monkeypatch.setenv("SAP_USER", "sap")
    assert load_configuration(example).mandators


@pytest.mark.usefixtures("credentials")
def test_no_consent_is_chosen_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    with salesforce.serving(salesforce.Org()) as url:
        write_first_configuration("salesforce", [f"url={url}"], file)
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["crm"]["opt_ins"] is None


@pytest.mark.usefixtures("credentials")
def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    file.write_text("mine")
    with pytest.raises(CommandError, match="exists, and isn't overwritten"):
        write_first_configuration("salesforce", ["url=http://127.0.0.1:1"], file)
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("crm", "settings", "problem"),
    [
        ("dataverse", ["url=https://contoso.example"], "tenant_id is missing; add --set tenant_id=…"),
        ("dataverse", ["url=https://contoso.example"], "set the environment variable DATAVERSE_CLIENT_ID"),
        ("salesforce", ["client_secret=abc"], "--set takes url=…"),
        ("salesforce", ["url"], "correct url"),
        ("files", ["url=/export"], "write_back is missing; add --set write_back=…"),
        ("sql", [], "set the environment variable SQL_URL"),
        ("pipedrive", [], "there is no such adapter"),
    ],
)
def test_what_is_missing_is_named(crm: str, settings: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=re.escape(problem)) as caught:
        write_first_configuration(crm, settings, tmp_path / "first.yaml")
    assert "abc" not in str(caught.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("credentials")
def test_a_refused_login_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVERSE_CLIENT_SECRET", "wrong")
    with dataverse.serving(dataverse.Dataverse()) as url, pytest.raises(CrmError, match=r"crm\.client_secret"):
        write_first_configuration(
            "dataverse", [f"url={url}", f"login_url={url}", "tenant_id=t"], tmp_path / "first.yaml"
        )
    assert not any(tmp_path.iterdir())


def test_any_name_stays_within_its_line() -> None:
    names = [UGLY, "two\nlines", "\x85", "- x", "null", "", "a" * 5000, "#", "日本\u2028語"]
    picks = [Choice({"marketing_list": name}, remark=name) for name in names]
    lines = configuration_text("x", {}, CrmOutline(picks=picks)).splitlines()
    selections = [line.split("#- ", 1)[1] for line in lines if "marketing_list" in line]
    assert [yaml.safe_load(line)["select"]["marketing_list"] for line in selections] == names
    yaml.safe_load("\n".join(lines))


@pytest.mark.usefixtures("credentials")
def test_columns_for_bounces_that_are_still_to_be_made_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm, file = dataverse.Dataverse(), tmp_path / "first.yaml"
    columns = crm.columns
    own = lambda table: {name: kind for name, kind in columns(table).items() if "bounce" not in name}  # noqa: E731
    monkeypatch.setattr(crm, "columns", own)
    with dataverse.serving(crm) as url:
        settings = [f"url={url}", f"login_url={url}", f"tenant_id={dataverse.TENANT}"]
        write_first_configuration("dataverse", settings, file)
    text = file.read_text(encoding="utf-8")
    assert "  #- bounce: {contact: {state: new_bounced, at: new_bouncedon}} # required" in text
    assert "{Vorname: firstname, Ort: address1_city}" in text


def test_only_so_many_lists_are_written() -> None:
    picks = [Choice({"report": f"Report {number}"}) for number in range(MOST_PICKS + 3)]
    assert "# and 3 more" in configuration_text("x", {}, CrmOutline(picks=picks))


def test_dates_are_found_beside_their_columns() -> None:
    own = {"new_news": "boolean", "new_NewsOn": "datetime", "new_vip": "boolean", "new_bounced": "boolean"}
    consents, bounces = column_choices({EntityType.CONTACT: own}, "state")
    assert [choice.settings["field"] for choice in consents] == [
        {"contact": {"granted": "new_news", "at": "new_NewsOn"}},
        {"contact": {"granted": "new_vip"}},
    ]
    assert [choice.settings for choice in bounces] == [{"contact": {"state": "new_bounced"}}]
