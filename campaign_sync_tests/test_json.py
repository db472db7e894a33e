"""What commands print with --json: valid by the schemas that are in the package, and by nothing that people read."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer

from campaign_sync.cli.commands import app
from campaign_sync.cli.documents import SCHEMAS, schema_text
from campaign_sync_tests import json_schemas
from campaign_sync_tests.installation import ENVIRONMENT, Installation, running_installation
from campaign_sync_tests.test_cli import campaign_sync
from campaign_sync_tests.test_common_options import leaves

PERSON = "person1@example.org"


@pytest.fixture
def installation(tmp_path: Path, two_lists: bool) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=two_lists) as running:
        assert running.configuration  # writes the file
        yield running


def document(command: str, done: "subprocess.CompletedProcess[str]", exit_code: int) -> Any:
    """Return what was printed, after it was validated by the schema of the command."""
    assert (done.returncode, done.stderr) == (exit_code, ""), done.stdout
    printed = json.loads(done.stdout)
    schema = json.loads(schema_text(command))
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(printed)
    return printed


def test_the_schemas_in_the_package_are_those_of_the_documents() -> None:
    """A change of one shows what users of it will see; `just docs` renews them."""
    kept = {path.name: path.read_text("utf-8") for path in json_schemas.FOLDER.iterdir()}

    assert kept == json_schemas.schemas()
    assert set(kept) == {f"{name}.json" for name in SCHEMAS.values()}


def test_every_document_has_a_command_that_prints_it_and_the_other_way_round() -> None:
    with_json = {name for name, options in leaves(typer.main.get_command(app)) if "--json" in options}

    assert {name.removesuffix(" --instance") for name in SCHEMAS} == with_json


def test_a_schema_is_printed_and_an_unknown_command_names_the_others(tmp_path: Path) -> None:
    shown = campaign_sync(tmp_path, "schema", "check", "--instance")
    unknown = campaign_sync(tmp_path, "schema", "db", "check")

    assert shown.stdout == schema_text("check --instance")
    assert (unknown.returncode, unknown.stderr.split(";")[0]) == (2, "db check prints no JSON")


@pytest.mark.thorough
def test_every_command_prints_what_its_schema_says(installation: Installation) -> None:
    def printed(command: str, *arguments: str, exit_code: int = 0) -> Any:
        shown = campaign_sync(installation.folder, *command.split(), *arguments, "--json")
        return document(command, shown, exit_code)

    run = printed("run", "nord")
    assert run["proven"]
    assert [(entry["name"], entry["state"], entry["in_list"]) for entry in run["lists"]] == [
        ("newsletter", "proven", 5)
    ]
    assert Path(run["report"]).exists()
    assert printed("replay", "nord", "newsletter")["proven"]
    difference = printed("diff", "nord", "newsletter")
    assert (difference["left"], difference["joined"], difference["changes"]) == (0, 0, [])

    (person,) = printed("why", PERSON)["people"]
    proof = person["lists"][0]["now"]["proof"]
    assert (person["address"], person["lists"][0]["now"]["in_list"]) == (PERSON, True)
    (proven,) = printed("prove", PERSON)["people"]
    assert proven["lists"][0]["then"]["proof"] == proof
    assert proven["lists"][0]["then"]["consent"]["kind"] == "granted"

    asked = printed("inquiries", PERSON)["inquiries"]
    assert [entry["command"] for entry in asked] == ["prove", "why"]
    assert {entry["command"] for entry in printed("inquiries")["inquiries"]} == {"prove", "why", "diff"}

    assert printed("plan", "nord")["lists"][0]["verdict"] == "would_run"
    assert printed("check")["passed"]
    assert printed("check --instance")["home"].endswith("dagster")
    assert printed("feedback unread", "nord")["imports"] == []
    assert {reader["rows_read"] for reader in printed("feedback sample", "nord")["readers"]} == {0}
    alarms = printed("alarms", exit_code=1)
    assert not alarms["nothing_wrong"]
    assert "nord" in alarms["not_watched"][0]

    installation.list_settings()["recipient_list_id"] = 4711
    assert installation.configuration
    refused = printed("run", "nord", exit_code=1)
    assert [entry["state"] for entry in refused["lists"]] == ["not_touched"]
    assert "4711" in refused["problems"][0]
    assert not printed("check", exit_code=1)["passed"]

    unknown = campaign_sync(installation.folder, "why", "unknown@example.org", "--json")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert PERSON not in json.dumps([run, refused, alarms, difference, asked])
    assert ENVIRONMENT["USERNAME_OF_BOTH"] not in json.dumps([run, refused, alarms])
