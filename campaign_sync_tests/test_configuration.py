"""Loading of the configuration file, and the reports of all mistakes in it."""

import io
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any
from zoneinfo import ZoneInfo

import dagster
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from campaign_sync.config import (
    Configuration,
    ConfigurationError,
    FeedbackSettings,
    MandatorSettings,
    ReaderSettings,
    SqlSettings,
    UnavailableError,
    configuration_schema,
    load_configuration,
    unavailable_secrets,
)
from campaign_sync.domain.feedback_rows import Layout
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.domain.size_limits import SizeLimits

EXAMPLE = Path(__file__).parents[1] / "docs" / "campaign_sync.example.yaml"
ENVIRON = {
    "OPTIMIZELY_BASE_URL": "https://api.example.org/soap11/",
    "CRM_URL": "postgres://reader:geheim@db.example.org/crm",
    "NORD_USERNAME": "nord-user",
    "SFTP_USERNAME": "sftp-user",
    "SFTP_PASSWORD": "sftp-sesame",
    "NORD_PASSWORD": "geheim-nord",
    "SUED_USERNAME": "sued-user",
    "SUED_PASSWORD": "geheim-sued",
}
MINIMAL = """\
optimizely: {base_url: "https://api.example.org/soap11"}
crm: {url: "sqlite:///crm.db"}
mandators:
  nord:
    mandator_id: 8100
    username: {env: NORD_USERNAME}
    password: {env: NORD_PASSWORD}
    lists:
      newsletter:
        recipient_list_id: 11
        kind: regular
        opt_in_id: newsletter-nord
        select: {marketing_list: Newsletter}
"""


def load(folder: Path, text: str | bytes, environ: Mapping[str, str] = ENVIRON) -> Configuration:
    file = folder / "campaign_sync.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_configuration(file, environ)


def problems(folder: Path, text: str | bytes, environ: Mapping[str, str] = ENVIRON) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(ConfigurationError) as error:
        load(folder, text, environ)
    assert str(error.value) == "\n".join(error.value.problems)
    return [line.removeprefix(f"{folder}/campaign_sync.yaml:") for line in error.value.problems]


def minimal(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new)


def with_list_keys(text: str) -> str:
    """The minimal file with more keys (from line 14, column 9) in its one list."""
    return MINIMAL + "".join(f"        {line}\n" for line in dedent(text).strip().splitlines())


def with_mandator_keys(text: str) -> str:
    """The minimal file with more keys (from line 6, column 5) in its one mandator."""
    keys = "".join(f"    {line}\n" for line in dedent(text).strip().splitlines())
    return minimal("    username:", f"{keys}    username:")


# What a file gives


def test_the_example_loads_with_its_values() -> None:
    configuration = load_configuration(EXAMPLE, ENVIRON)
    assert configuration.optimizely.base_url == "https://api.example.org/soap11"
    assert isinstance(configuration.crm, SqlSettings)
    assert configuration.crm.url.get_secret_value() == "postgresql+psycopg2://reader:geheim@db.example.org/crm"
    nord = configuration.mandators["nord"]
    assert (nord.username.get_secret_value(), nord.password.get_secret_value()) == ("nord-user", "geheim-nord")
    assert (nord.schedule, nord.zone) == ("30 4 * * *", ZoneInfo("Europe/Berlin"))
    assert nord.lists["newsletter"].select.marketing_list == "Newsletter Nord"
    assert nord.lists["events"].select.report == "Besucher der Messe"
    assert nord.lists["events"].attributes == nord.lists["newsletter"].attributes


def test_the_example_and_the_minimal_file_match_the_json_schema() -> None:
    schema = configuration_schema()
    Draft202012Validator.check_schema(schema)
    for text in (EXAMPLE.read_text("utf-8"), MINIMAL):
        Draft202012Validator(schema).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{env: NORD_PASSWORD}", "geheim"),
        ("8100", "{env: 5}"),
        ("kind: regular", "kind: optin"),
        ("  nord:", "  Nord:"),
        ("lists:", "list:"),
        ("11\n", "eleven\n"),
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(old: str, new: str) -> None:
    assert not Draft202012Validator(configuration_schema()).is_valid(yaml.safe_load(minimal(old, new)))


def test_the_json_schema_shows_the_defaults_and_describes_every_key() -> None:
    sections = configuration_schema()["$defs"]
    assert sections["StorageSettings"]["properties"]["state_url"]["default"] == "sqlite:///.campaign_sync/state.db"
    undescribed = [
        f"{section}.{key}"
        for section, schema in sections.items()
        for key, value in schema.get("properties", {}).items()
        if "description" not in value and "$ref" not in value and section != "EnvironmentReference"
    ]
    assert undescribed == []


def test_a_minimal_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    configuration = load(tmp_path, MINIMAL)
    assert (configuration.optimizely.batch_size, configuration.optimizely.parallel_calls) == (1000, 4)
    assert configuration.optimizely.timeout_seconds == 180
    assert configuration.storage.frames == ".campaign_sync/frames"
    assert configuration.storage.state_url.get_secret_value() == "sqlite:///.campaign_sync/state.db"
    nord = configuration.mandators["nord"]
    assert (nord.schedule, nord.timezone) == (None, "Europe/Berlin")
    assert nord.feedback == FeedbackSettings()
    assert list(nord.feedback.readers) == ["getOutBounces", "getUnsubscribes"]
    assert nord.feedback.readers["getOutBounces"].layout(nord.zone) == Layout(zone=nord.zone)
    newsletter = nord.lists["newsletter"]
    assert newsletter.limits.size_limits() == SizeLimits()
    assert newsletter.max_snapshot_age == timedelta(hours=6)
    assert [newsletter.technical_attribute(field) for field in TechnicalField] == [f.value for f in TechnicalField]


@pytest.mark.parametrize(
    ("layout", "columns"),
    [({}, (0, 1, 2)), ({"recipient": 2, "mailing": 1, "time": 0}, (2, 1, 0)), ({"time": 1}, (0, None, 1))],
)
def test_unsubscribes_by_mailing_are_recipient_mailing_and_time_unless_the_columns_are_named(
    layout: dict[str, int], columns: tuple[int, ...]
) -> None:
    settings = FeedbackSettings.model_validate(
        {"readers": {"getOutBounces": {}, "getUnsubscribes": {}, "getMailingUnsubscribes": layout}}
    )
    reader = settings.reader("getMailingUnsubscribes")
    assert reader is not None
    assert (reader.recipient, reader.mailing, reader.time) == columns


def test_readers_of_unsubscribes_with_an_opt_in_column_name_the_consent_that_is_affected(tmp_path: Path) -> None:
    text = with_mandator_keys(
        "feedback: {readers: {getOutBounces: {opt_in_id: 2}, getUnsubscribes: {opt_in_id: opt-in-id, entity_type: 3, "
        "entity_id: 4}, getMailingUnsubscribes: {mailing: 1, time: 2}}}"
    )
    feedback = load(tmp_path, text).mandators["nord"].feedback
    assert feedback.opt_in_readers == ("getUnsubscribes",)
    layout = feedback.readers["getUnsubscribes"].layout(ZoneInfo("Europe/Berlin"))
    assert layout.technical_columns == {"opt_in_id": "opt-in-id", "entity_type": 3, "entity_id": 4}


def test_responses_are_off_without_readers(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL).mandators["nord"].responses is None
    nord = load(tmp_path, with_mandator_keys("responses: {readers: {getOpens: {}, getClicks: {link: url}}}"))
    responses = nord.mandators["nord"].responses
    assert responses is not None
    assert responses.schedule is None
    zone = ZoneInfo("Europe/Berlin")
    assert responses.readers["getOpens"].layout(zone) == Layout(mailing=1, time=2, zone=zone)
    assert responses.readers["getClicks"].layout(zone) == Layout(mailing=1, time=2, link="url", zone=zone)


def test_a_technical_field_can_have_another_attribute_in_a_list(tmp_path: Path) -> None:
    text = with_list_keys("technical_fields: {media-type: Medium}")
    newsletter = load(tmp_path, text).mandators["nord"].lists["newsletter"]
    assert newsletter.technical_attribute(TechnicalField.MEDIA_TYPE) == "Medium"
    assert newsletter.technical_attribute(TechnicalField.ENTITY_ID) == "entity-id"


def test_any_value_can_come_from_the_environment_and_is_converted_to_its_type(tmp_path: Path) -> None:
    text = minimal("8100", "{env: ID}").replace("kind: regular", "kind: {env: KIND}") + dedent(
        """\
        storage: {state_url: {env: STATE_URL}}
        """
    )
    environ = {**ENVIRON, "ID": "8100", "KIND": "regular", "STATE_URL": "postgresql://a:b@c.example.org/d"}
    configuration = load(tmp_path, text, environ)
    assert configuration.mandators["nord"].mandator_id == 8100
    assert configuration.storage.state_url.get_secret_value() == "postgresql+psycopg2://a:b@c.example.org/d"


def test_a_column_position_from_the_environment_stays_a_position(tmp_path: Path) -> None:
    text = with_mandator_keys("feedback: {readers: {getOutBounces: {time: {env: COLUMN}}, getUnsubscribes: {}}}")
    configuration = load(tmp_path, text, {**ENVIRON, "COLUMN": "3"})
    assert configuration.mandators["nord"].feedback.readers["getOutBounces"].time == 3


def test_anchors_and_merged_keys_are_supported(tmp_path: Path) -> None:
    text = with_mandator_keys(
        """
        feedback:
          readers:
            getOutBounces: &layout {header: true, recipient: id, time: at}
            getUnsubscribes: {<<: *layout, time: when}
        """
    )
    readers = load(tmp_path, text).mandators["nord"].feedback.readers
    bounces, unsubscribes = readers["getOutBounces"], readers["getUnsubscribes"]
    assert (bounces.time, unsubscribes.time, unsubscribes.recipient) == ("at", "when", "id")


def test_keys_are_taken_as_written_even_if_yaml_sees_a_truth_value(tmp_path: Path) -> None:
    lists = load(tmp_path, with_list_keys("attributes: {No: number, 0123: code}")).mandators["nord"].lists
    assert lists["newsletter"].attributes == {"No": "number", "0123": "code"}


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode()) == load(tmp_path, MINIMAL)


def test_a_layouts_own_time_zone_has_precedence_over_the_mandators() -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert ReaderSettings().layout(zone).zone == zone
    assert ReaderSettings(timezone="Asia/Tokyo").layout(zone).zone == ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("90m", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("PT2H30M", timedelta(hours=2, minutes=30)),
        ("P1D", timedelta(days=1)),
    ],
)
def test_durations_have_a_short_form_or_that_of_iso_8601(text: str, expected: timedelta) -> None:
    assert FeedbackSettings.model_validate({"overlap": text}).overlap == expected


def test_the_file_is_named_by_the_environment_or_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "campaign_sync.yaml").write_text(MINIMAL, "utf-8")
    (tmp_path / "other.yaml").write_text(minimal("8100", "8200"), "utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_configuration(environ=ENVIRON).mandators["nord"].mandator_id == 8100
    named = {**ENVIRON, "CAMPAIGN_SYNC_CONFIG": str(tmp_path / "other.yaml")}
    assert load_configuration(environ=named).mandators["nord"].mandator_id == 8200


# Files that can't be read at all


def test_a_missing_file_is_reported_with_remedies(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: there is no such file.*CAMPAIGN_SYNC_CONFIG.*demo"):
        load_configuration(tmp_path / "absent.yaml", {})


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the file can't be read: Is a directory"):
        load_configuration(tmp_path, {})


def test_bytes_that_are_not_utf8_are_reported_with_their_position(tmp_path: Path) -> None:
    latin = minimal("Newsletter}", "Süd}").encode("latin-1")
    position = latin.index(b"\xfc")
    assert problems(tmp_path, latin) == [f"13:35 byte {position} isn't UTF-8; save the file in the encoding UTF-8"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a: [1,\nb\n",
            "3:1 this isn't YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'",
        ),
        ("a: *missing\n", "1:4 this isn't YAML: found undefined alias 'missing'"),
        (
            "a: 1\n---\nb: 2\n",
            "2:1 this isn't YAML: expected a single document in the stream but found another document",
        ),
        ("a: 1\nb: \x07\n", "2:4 the character U+0007 is forbidden in YAML"),
        ("", "1:1 the file is empty; docs/campaign_sync.example.yaml shows a complete one"),
        ("just text", "1:1 a section with keys is expected here"),
    ],
)
def test_a_text_that_is_no_yaml_document_is_reported_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]


# Mistakes in a file, each with its place

LIST = "mandators.nord.lists.newsletter"
FEEDBACK = "feedback: {readers"
READER = "mandators.nord.feedback.readers.getOutBounces"
CLICKS = "mandators.nord.responses.readers.getClicks"
MANDATOR_MISTAKES = [
    ("schedule: 30 4 * *", "6:15 mandators.nord.schedule: five fields are expected"),
    ('schedule: "0 4 30 2 *"', "6:15 mandators.nord.schedule: no such day ever comes"),
    ('schedule: "60 4 * * *"', "6:15 mandators.nord.schedule: the minute must be *, a number from 0 to 59"),
    ('schedule: "0 4 * * montag"', "6:15 mandators.nord.schedule: the day of the week must be *, a number from 0 to 7"),
    ("timezone: Europe/Bonn", "6:15 mandators.nord.timezone: no time zone has this name"),
    ("timezone: ../etc", "6:15 mandators.nord.timezone: no time zone has this name"),
    ("feedback:", "6:14 mandators.nord.feedback: a section with keys is expected here"),
    ("feedback: {lifetime: 30}", "6:26 mandators.nord.feedback.lifetime: a duration is expected, like 90m, 2h"),
    ("feedback: {lifetime: 30 days}", "6:26 mandators.nord.feedback.lifetime: a duration is expected"),
    (
        "feedback: {lifetime: 999999999d}",
        "6:26 mandators.nord.feedback.lifetime: a duration is longer than nothing and at most",
    ),
    ("feedback: {lifetime: PX}", "6:26 mandators.nord.feedback.lifetime: a duration is expected"),
    ("feedback: {lifetime: 13d}", "6:26 mandators.nord.feedback.lifetime: the vendor keeps feedback for 14d to 30d"),
    ("feedback: {lifetime: 31d}", "6:26 mandators.nord.feedback.lifetime: the vendor keeps feedback for 14d to 30d"),
    ("feedback: {overlap: 0h}", "6:25 mandators.nord.feedback.overlap: a duration is longer than nothing"),
    *(
        (
            f"feedback: {{readers: {{getUnsubscribes: {{}}, getOutBounces: {{{keys}}}}}}}",
            f"6:{column} {READER}{problem}",
        )
        for keys, column, problem in (
            ("time: at, header: no", 62, ": columns are named, so the rows must have a header"),
            ("time: -1", 69, ".time: a column is its position from 0"),
            ("header: 7", 71, ".header: true or false is expected"),
            ('time_format: "%H:%M"', 76, ".time_format: epoch_ms, iso"),
            ("time_format: unix", 76, ".time_format: epoch_ms, iso"),
            ('time_format: "%d.%m.%Y %I:%M"', 76, ".time_format: epoch_ms, iso or a strptime pattern that reads back"),
            ('time_format: "%d.%m.%Y %H:%M %Z"', 76, ".time_format: epoch_ms, iso or a strptime pattern that reads"),
        )
    ),
    (
        "feedback: {readers: {bounces: {}}}",
        "6:26 mandators.nord.feedback.readers.bounces: the value must be 'getOutBounces'",
    ),
    ("feedback: {readers: {getUnsubscribes: {}}}", "6:15 mandators.nord.feedback: readers has none for bounces; add"),
    (
        "feedback: {readers: {getUnsubscribes: {}, getResponses: {}}}",
        "6:15 mandators.nord.feedback: readers.getResponses needs a category",
    ),
    (
        "feedback: {readers: {getUnsubscribes: {time: null}, getOutBounces: {time: null}}}",
        "6:15 mandators.nord.feedback: readers.getUnsubscribes needs a time; only getOutBounces can do without",
    ),
    ("feedback: {files: {url: in, path: x}}", "6:33 mandators.nord.feedback.files.path: this key isn't known; known"),
    ("feedback: {files: {url: in}}", "6:15 mandators.nord.feedback: readers.getOutBounces needs files: which of"),
    (
        "feedback: {readers: {getUnsubscribes: {files: u*}, getOutBounces: {}}}",
        "6:15 mandators.nord.feedback: readers.getUnsubscribes names files, but files.url doesn't say where",
    ),
    ("responses: {}", "6:5 mandators.nord.responses.readers: this key is required"),
    ("responses: on", "6:16 mandators.nord.responses: a section with keys is expected here"),
    ("responses: {readers: {}}", "6:26 mandators.nord.responses.readers: at least one entry is expected"),
    (
        "responses: {readers: {getUnsubscribes: {}}}",
        "6:27 mandators.nord.responses.readers.getUnsubscribes: the value must be 'getOpens', 'getClicks' or 'getR",
    ),
    (
        'responses: {readers: {getOpens: {}}, schedule: "*/90 * * * *"}',
        "6:52 mandators.nord.responses.schedule: the minute must be",
    ),
    (
        "responses: {readers: {getOpens: {link: 3}}}",
        "6:16 mandators.nord.responses: readers.getOpens has no link, only getClicks does; leave it out",
    ),
    (
        "responses: {readers: {getClicks: {category: 3}}}",
        "6:16 mandators.nord.responses: readers.getClicks has no category, only getResponses does; leave it out",
    ),
    *(
        (f"responses: {{readers: {{getClicks: {{{keys}}}}}}}", f"6:{column} {CLICKS}{problem}")
        for keys, column, problem in (
            ("link: url, header: no", 38, ": columns are named, so the rows must have a header"),
            ("mailing: null", 48, ".mailing: a column is its position from 0"),
            ("time: null", 45, ".time: a column is its position from 0"),
            ("files: u*", 39, ".files: this key isn't known"),
            ("time_format: unix", 52, ".time_format: epoch_ms, iso"),
        )
    ),
    ("mandator_id: 8100", "6:5 mandators.nord.mandator_id: the key occurs twice, first in line 5"),
    ("shedule: x", "6:5 mandators.nord.shedule: this key isn't known; did you mean schedule?"),
    ("colour: red", "6:5 mandators.nord.colour: this key isn't known; known here are mandator_id, username, password"),
]
LIST_MISTAKES = [
    (
        "strategy: shadow_then_refill",
        f"14:19 {LIST}.strategy: the strategy shadow_then_refill was removed; use clear_refill or differential",
    ),
    ("strategy: refill", f"14:19 {LIST}.strategy: the value must be 'clear_refill' or 'differential'"),
    ("limits: {max_shrink: 20}", f"14:30 {LIST}.limits.max_shrink: the value must be at most 1"),
    ("limits: {max_growth: -1}", f"14:30 {LIST}.limits.max_growth: the value must be at least 0"),
    ("limits: {max_growth: .inf}", f"14:30 {LIST}.limits.max_growth: Input should be a finite number"),
    ("limits: {min_rows: 0.5}", f"14:28 {LIST}.limits.min_rows: a whole number is expected"),
    ("limits: {min_rows: yes}", f"14:28 {LIST}.limits.min_rows: a number is expected, not yes or no"),
    ("limits: {min_rows: 9, max_rows: 8}", f"14:17 {LIST}.limits: max_rows is smaller than min_rows"),
    ("attributes: [Vorname]", f"14:21 {LIST}.attributes: a section with keys is expected here"),
    ("attributes: {Vorname: 5}", f"14:31 {LIST}.attributes.Vorname: text is expected; put the value in quotes"),
    ("attributes: {Vorname: ''}", f"14:31 {LIST}.attributes.Vorname: the value is empty"),
    ("attributes: {Vorname: !secret x}", f"14:31 {LIST}.attributes.Vorname: could not determine a constructor"),
    ("attributes: {Geburtstag: 2026-02-30}", f"14:34 {LIST}.attributes.Geburtstag: YAML takes this for a number or a"),
    ("attributes: {[a]: b}", f"14:22 {LIST}.attributes: a key must be plain text"),
    ("attributes: &all {a: *all}", f"14:21 {LIST}.attributes.a: this alias contains itself"),
    ("attributes: !map {a: b}", f"14:21 {LIST}.attributes: the tag !map isn't known here; remove it"),
    ("attributes: {erstellt am: x}", f"14:35 {LIST}.attributes.erstellt am: the vendor writes this attribute itself"),
    (
        "attributes: {description: text}",
        f"14:35 {LIST}.attributes.description: the attribute holds the technical field description; leave it out",
    ),
    (
        "technical_fields: {entity-id: Created}",
        f"14:39 {LIST}.technical_fields.entity-id: the vendor writes this attribute itself",
    ),
    (
        "technical_fields: {entity-id: X, media-type: X}",
        f"14:39 {LIST}.technical_fields.entity-id: the attribute holds the technical field media-type already",
    ),
    (
        "technical_fields: {opt-in-id: description}",
        f"14:39 {LIST}.technical_fields.opt-in-id: the attribute holds the technical field description already",
    ),
    (
        "technical_fields: {opt_in_id: X}",
        f"14:28 {LIST}.technical_fields.opt_in_id: the value must be 'opt-in-id', 'description', 'media-type'",
    ),
]
VALUE_MISTAKES = [
    ("https://api.example.org/soap11", "ftp://api.example.org", "1:24 optimizely.base_url: an http or https URL"),
    ("https://api.example.org/soap11", "https:///soap11", "1:24 optimizely.base_url: an http or https URL"),
    ("https://api.example.org/soap11", "http://[", "1:24 optimizely.base_url: an http or https URL"),
    ("https://api.example.org/soap11", "http://a:99999/", "1:24 optimizely.base_url: an http or https URL"),
    *(
        (
            "https://api.example.org",
            f"http://{host}",
            "1:24 optimizely.base_url: passwords and people's addresses would",
        )
        for host in ("api.example.org", "10.0.0.7", "localhost.example.org", "[2001:db8::1]", "134744072", "0x8080808")
    ),
    (
        'soap11"',
        'soap11", ca_file: /no/such.pem',
        "1:67 optimizely.ca_file: the file can't be read (No such file or directory); check the path",
    ),
    (
        'soap11"',
        'soap11", ca_file: /dev/null',
        "1:67 optimizely.ca_file: the file holds no certificate; it must be in the form PEM",
    ),
    ("example.org/soap11", "example.org/soap11?wsdl", "1:24 optimizely.base_url: leave out /Rpc<Service> and ?wsdl"),
    ("/soap11", "/soap11/RpcSession", "1:24 optimizely.base_url: leave out /Rpc<Service> and ?wsdl"),
    ("https://api", "https://me:1/geheim@api", "1:24 optimizely.base_url: an http or https URL is expected"),
    (
        "crm: {",
        "alarms: {ui_url: 'https://me:geheim@dagster'}\ncrm: {",
        "2:18 alarms.ui_url: the URL has a password in it",
    ),
    ("https://api", "https://me:geheim@api", "1:24 optimizely.base_url: the URL has credentials in it"),
    ("sqlite:///crm.db", "postgresql://me:geheim@db/crm", "2:12 crm.url: the URL has a password in it; write {env:"),
    ("sqlite:///crm.db", "postgresql://db/crm?password=geheim", "2:12 crm.url: the URL has a password in it"),
    *(
        ("sqlite:///crm.db", f"postgresql://me:ge{sign}heim@db/crm", "2:12 crm.url: the URL can be read in several")
        for sign in "@/?"
    ),
    ("sqlite:///crm.db", "crm.db", "2:12 crm.url: a database URL is expected, like postgresql://"),
    ("sqlite:///crm.db", "dbase://crm", "2:12 crm.url: SQLAlchemy has no such kind of database"),
    ("crm: {url", "crm: {adapter: rest, url", "2:16 crm.adapter: there is no such adapter; installed are "),
    (
        "crm: {",
        "storage: {state_url: oracle://x/y}\ncrm: {",
        "2:22 storage.state_url: the product's own state lives in",
    ),
    ("  nord:", "  Nord:", "4:3 mandators.Nord: a name has lower-case letters, digits and underscores only"),
    ("  nord:", f"  {'n' * 65}:", f"4:3 mandators.{'n' * 65}: at most 64 characters are expected"),
    ("8100", "0", "5:18 mandators.nord.mandator_id: the value must be greater than 0"),
    (
        "8100",
        "99999999999999999999",
        "5:18 mandators.nord.mandator_id: the value must be less than 9223372036854775808",
    ),
    ("8100", "{env: NOBODY_SET_THIS}", "5:18 mandators.nord.mandator_id: the environment variable NOBODY_SET_THIS is"),
    ("{env: NORD_PASSWORD}", "geheim", "7:15 mandators.nord.password: a credential must not be in this file"),
    ("{env: NORD_USERNAME}", "klaus", "6:15 mandators.nord.username: a credential must not be in this file"),
    ("    password: {env: NORD_PASSWORD}\n", "", "4:3 mandators.nord.password: this key is required"),
    ("kind: regular", "kind: optin", f"11:15 {LIST}.kind: the value must be 'regular'"),
    ("        kind: regular\n", "", f"9:7 {LIST}.kind: this key is required"),
    ("newsletter-nord", "4711", f"12:20 {LIST}.opt_in_id: text is expected; put the value in quotes"),
    (
        "{marketing_list: Newsletter}",
        "{}",
        f"13:17 {LIST}.select: exactly one of marketing_list, report, filter and query is",
    ),
    (
        "Newsletter}",
        "Newsletter, report: R}",
        f"13:17 {LIST}.select: exactly one of marketing_list, report, filter and query is",
    ),
]


@pytest.mark.parametrize(
    ("text", "problem"),
    [(with_mandator_keys(keys), problem) for keys, problem in MANDATOR_MISTAKES]
    + [(with_list_keys(keys), problem) for keys, problem in LIST_MISTAKES]
    + [(minimal(old, new), problem) for old, new, problem in VALUE_MISTAKES],
)
def test_a_mistake_is_reported_once_with_its_place_and_without_its_value(
    tmp_path: Path, text: str, problem: str
) -> None:
    (reported,) = problems(tmp_path, text)
    assert reported.startswith(problem)
    assert "geheim" not in reported


def test_lists_and_mandators_need_at_least_one_entry(tmp_path: Path) -> None:
    head = MINIMAL.partition("    lists:")[0]
    assert problems(tmp_path, head + "    lists: {}\n") == ["8:12 mandators.nord.lists: at least one entry is expected"]
    head = MINIMAL.partition("mandators:")[0]
    assert problems(tmp_path, head) == ["1:1 mandators: this key is required"]


def test_groups_of_lists_keep_to_the_vendors_limit_of_calls_and_need_what_starts_them(tmp_path: Path) -> None:
    assert load(tmp_path, with_mandator_keys("parallel_runs: 8")).mandators["nord"].parallel_runs == 8
    many = with_mandator_keys("parallel_runs: 6").replace("optimizely: {", "optimizely: {parallel_calls: 7, ")
    (too_many,) = problems(tmp_path, many)
    assert "nord.parallel_runs: 6 runs with 7 calls each (optimizely.parallel_calls) are more than the 40" in too_many
    for off in ("repair: off", "repair: 'No'", "mend: false"):  # a former key is accepted as well
        (alone,) = problems(tmp_path, with_mandator_keys(f"parallel_runs: 2\nautomation: {{{off}}}"))
        assert "nord.parallel_runs: automation.repair starts the groups of lists" in alone


def test_a_recipient_list_or_mandator_cannot_have_two_entries(tmp_path: Path) -> None:
    second = MINIMAL.partition("mandators:\n")[2].replace("  nord:", "  sued:")
    assert problems(tmp_path, MINIMAL + second) == [
        "5:18 mandators.nord.mandator_id: two entries are of the same mandator; the other is mandators.sued",
        (
            "10:28 mandators.nord.lists.newsletter.recipient_list_id: two entries would overwrite each other in one "
            "recipient list; the other is mandators.sued.lists.newsletter"
        ),
        "15:18 mandators.sued.mandator_id: two entries are of the same mandator; the other is mandators.nord",
        (
            "20:28 mandators.sued.lists.newsletter.recipient_list_id: two entries would overwrite each other in one "
            "recipient list; the other is mandators.nord.lists.newsletter"
        ),
    ]


def test_all_mistakes_of_every_kind_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        with_list_keys("attributes: {description: a, Created: b}\nlimits: {max_shrink: 2}")
        .replace("8100", "none\n    mandator_id: -1")
        .replace("{env: NORD_PASSWORD}", "secret in the file")
        .replace("crm: {url", "crm: {urll")
    )
    assert [line.partition(": ")[0] for line in problems(tmp_path, text)] == [
        "2:1 crm.url",
        "2:7 crm.urll",
        "6:5 mandators.nord.mandator_id",
        "6:18 mandators.nord.mandator_id",
        "8:15 mandators.nord.password",
        f"15:35 {LIST}.attributes.description",
        f"15:47 {LIST}.attributes.Created",
        f"16:30 {LIST}.limits.max_shrink",
    ]


def test_an_empty_variable_counts_as_missing(tmp_path: Path) -> None:
    text = minimal("8100", "{env: NUMBER}")
    assert problems(tmp_path, text, {**ENVIRON, "NUMBER": ""}) == [
        "5:18 mandators.nord.mandator_id: the environment variable NUMBER is empty"
    ]


def test_a_credential_is_read_when_it_is_used_and_names_its_place_when_it_is_missing(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    nord = load(tmp_path, MINIMAL, environ).mandators["nord"]
    place = f"{tmp_path}/campaign_sync.yaml:7:15 mandators.nord.password: the environment variable NORD_PASSWORD"
    for value, problem in ((None, "not set"), ("", "empty")):
        if value is not None:
            environ["NORD_PASSWORD"] = value
        with pytest.raises(UnavailableError) as caught:
            nord.password.get_secret_value()
        assert str(caught.value) == f"{place} is {problem}"
        assert unavailable_secrets(nord)[1:] == [str(caught.value)]
    environ |= {"NORD_USERNAME": "nord", "NORD_PASSWORD": "geheim"}
    assert unavailable_secrets(nord) == []
    assert nord.password.get_secret_value() == "geheim"
    environ["NORD_PASSWORD"] = "rotated"
    assert nord.password.get_secret_value() == "rotated"
    assert "rotated" not in f"{nord!r} {nord.password} {nord.model_dump()} {nord.model_dump_json()}"


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost", "[::1]:8123", "sandbox:8123", "vendor-stand_in"])
def test_clear_text_is_allowed_to_this_machine_and_to_names_without_a_dot(tmp_path: Path, host: str) -> None:
    configuration = load(tmp_path, minimal("https://api.example.org", f"http://{host}"))
    assert configuration.optimizely.base_url == f"http://{host}/soap11"


# Secrets


def test_no_printed_form_shows_a_secret(tmp_path: Path) -> None:
    configuration = load(tmp_path, EXAMPLE.read_bytes())
    stream = io.StringIO()
    print(configuration, repr(configuration), configuration.model_dump_json(), file=stream)
    assert "geheim" not in stream.getvalue()


def test_a_wrong_value_from_the_environment_is_never_repeated(tmp_path: Path) -> None:
    text = minimal("8100", "{env: CRM_URL}").replace("newsletter-nord", "{env: NORD_PASSWORD}")
    text = text.replace("kind: regular", "kind: {env: NORD_PASSWORD}").replace('"sqlite:///crm.db"', "{env: BROKEN}")
    environ = {**ENVIRON, "BROKEN": "postgresql://u:geheim@h:port/geheim"}
    message = "\n".join(problems(tmp_path, text, environ))
    assert "2:12 crm.url: a database URL is expected" in message
    assert "geheim" not in message


def test_models_built_in_code_hide_their_input_as_well() -> None:
    with pytest.raises(ValidationError) as error:
        MandatorSettings.model_validate({"mandator_id": "geheim", "password": "geheim"})
    assert "geheim" not in str(error.value)


# Rules with many values


@given(
    st.lists(
        st.sampled_from(["*", "*/5", "0", "7", "1-5", "1-5/2", "mon", "jan-mar", "1,2", "L", "60"]),
        min_size=5,
        max_size=5,
    )
)
@settings(max_examples=300)
def test_every_accepted_schedule_is_accepted_by_dagster(fields: list[str]) -> None:
    base: dict[str, Any] = {
        "mandator_id": 1,
        "username": None,
        "password": None,
        "lists": {},
        "schedule": " ".join(fields),
    }
    try:
        MandatorSettings.model_validate(base)
    except ValidationError as error:
        if any(detail["loc"] == ("schedule",) for detail in error.errors()):
            return
    dagster.ScheduleDefinition(name="daily", target="*", cron_schedule=base["schedule"])


@given(st.text())
def test_any_text_as_a_value_is_either_accepted_or_reported(text: str) -> None:
    for section, key in ((ReaderSettings, "time_format"), (ReaderSettings, "timezone"), (FeedbackSettings, "lifetime")):
        try:
            section.model_validate({"reader": "getOutBounces", key: text})
        except ValidationError:
            continue


def test_names_are_composed_and_trimmed(tmp_path: Path) -> None:
    decomposed = "Ku\u0308nstler"
    text = minimal("{marketing_list: Newsletter}", f"{{marketing_list: ' {decomposed} '}}")
    text = (
        text.replace("newsletter-nord", f"{decomposed}-nord") + f"        attributes: {{{decomposed}: {decomposed}}}\n"
    )
    newsletter = load(tmp_path, text).mandators["nord"].lists["newsletter"]
    assert newsletter.select.marketing_list == "Künstler"
    assert newsletter.opt_in_id == "Künstler-nord"
    assert newsletter.attributes == {"Künstler": "Künstler"}


def test_a_repeated_attribute_in_two_spellings_is_refused(tmp_path: Path) -> None:
    reported = problems(tmp_path, with_list_keys("attributes: {Größe: size, Gro\u0308\u00dfe: height}"))
    assert any("in two spellings" in problem for problem in reported)
