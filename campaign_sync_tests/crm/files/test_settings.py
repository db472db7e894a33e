"""The settings of a CRM that delivers files: every mistake is named, and the examples of the documents work."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from campaign_sync.config import load_configuration
from campaign_sync.config.crm_files import FilesSettings
from campaign_sync.crm.files.source import FilesSource
from campaign_sync.crm.port import CrmNeeds, Pick
from campaign_sync.domain.entity import EntityType
from campaign_sync_tests.crm.files.deliveries import TABLES, encode, settings

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"

ENVIRON = {"SAP_USER": "export", "NORD_USERNAME": "nord", "NORD_PASSWORD": "geheim"}


def test_the_example_loads_and_has_at_most_thirty_lines() -> None:
    configuration = load_configuration(EXAMPLES / "files.yaml", ENVIRON)
    assert isinstance(configuration.crm, FilesSettings)
    assert configuration.crm.has_subfolders
    lines = (EXAMPLES / "files.yaml").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) and line.strip()[0] != "#" for line in lines) <= 30


def test_a_delivery_as_the_example_describes_it_is_read(tmp_path: Path) -> None:
    configured = load_configuration(EXAMPLES / "files.yaml", ENVIRON).crm
    folder = tmp_path / "export" / "20260301"
    folder.mkdir(parents=True)
    tables = {
        "contact": [["PARTNER", "SMTP_ADDR", "CITY1"], ["4711", "anna@example.org", "Köln"]],
        "consent_state": [["entity_id", "kind", "changed_at"], ["4711", "granted", "2026-01-01T12:00:00Z"]],
        "address_state": TABLES["address_state"],
        "marketing_list": [["id", "name"], ["L1", "Newsletter Nord"]],
        "marketing_list_member": [["marketing_list_id", "entity_id"], ["L1", "4711"]],
    }
    for name, table in tables.items():
        (folder / f"{name}.csv").write_bytes(encode(table, ";", "cp1252"))
    subprocess.run([sys.executable, EXAMPLES / "write_manifest.py", folder, ";", "cp1252"], check=True)
    assert isinstance(configured, FilesSettings)
    local = configured.model_copy(update={"url": str(tmp_path / "export"), "username": None})
    with FilesSource(local, tmp_path / "copies").read(CrmNeeds()) as reader:
        assert list(reader.people(EntityType.CONTACT).chunks) == [[["4711", "anna@example.org", "Köln"]]]
        assert list(reader.pick(Pick("marketing_list", "Newsletter Nord")).chunks) == [[["contact", "4711"]]]
        states = reader.consent_states(None)
        assert states is not None
        [[state]] = states.chunks
        assert list(state)[:5] == ["contact", "4711", None, "newsletter", "granted"]


def test_the_script_counts_records_and_not_lines(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    for name, table in TABLES.items():
        (outbox / f"{name}.csv").write_bytes(encode(table))
    subprocess.run([sys.executable, EXAMPLES / "write_manifest.py", outbox], check=True)
    with FilesSource(settings(outbox), tmp_path / "copies").read(CrmNeeds()) as reader:
        assert sum(map(len, reader.people(EntityType.CONTACT).chunks)) == 3
    assert not (outbox / "manifest.json.part").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tables": {"consent_state": {}, "opt_in": {}}}, "tables needs contact, lead or account"),
        ({"tables": {"contact": {}, "opt_in": {}}}, "tables needs consent_event or consent_state"),
        ({"tables": {"contact": {}, "consent_state": {}}}, "name the opt-ins in opt_ins"),
        ({"people_max_age": "1h"}, "people_max_age has no effect: people are read again"),
        (
            {"tables": {"contact": {}, "consent_state": {}, "opt_in": {}, "marketing_list": {}}},
            "both marketing_list and marketing_list_member",
        ),
        (
            {"tables": {"contact": {}, "opt_in": {}, "consent_state": {"columns": {"state": "STATUS"}}}},
            "consent_state has no column state in the contract",
        ),
        (
            {"tables": {"contact": {"constants": {"city": "Köln"}}, "opt_in": {}, "consent_state": {}}},
            "contact has no column city",
        ),
        (
            {
                "tables": {
                    "contact": {},
                    "opt_in": {},
                    "consent_state": {"columns": {"kind": "K"}, "constants": {"kind": "x"}},
                }
            },
            "kind is in columns and in constants",
        ),
        ({"trigger": "*.done", "complete": "manifest.json"}, "trigger replaces it; remove one of them"),
        ({"complete": "*.json"}, "complete must name one manifest"),
        ({"complete": "../manifest.json"}, "a name in the folder of the URL is expected"),
        ({"complete": "a/b/manifest.json"}, "a name in the folder of the URL is expected"),
        ({"trigger": "*/"}, "a name in the folder of the URL is expected"),
        ({"format": {"kind": "parquet", "delimiter": ";"}}, "are for CSV; remove them"),
        ({"format": {"encoding": "latin-1"}}, "Input should be"),
        ({"url": "sftp://user:geheim@host/x"}, "the URL has a password in it"),
        ({"username": "export"}, "a credential must not be in this file"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        settings("/srv/export", **changes)
    assert says in str(error.value)
    assert "geheim" not in str(error.value)
