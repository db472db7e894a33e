"""The section `crm` for SQL databases: mappings, presets and statements."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from campaign_sync.cli.commands import app
from campaign_sync.config import PRESETS, SqlSettings, preset_text
from campaign_sync.config.crm_sql import CONTRACT_COLUMNS
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.engine import crm_engine

OPT_INS = {"opt_ins": {"news": {"mandator": "nord", "description": "News"}}}
STATEMENTS = {"write_back": {"withdrawal": ["UPDATE a SET b = 1"], "bounce": ["UPDATE a SET c = 1"]}}
PERSON = {"table": "person"}


def settings(**values: Any) -> SqlSettings:
    return SqlSettings.model_validate({"url": SecretStr("postgresql://db/crm")} | values)


def test_a_url_alone_is_a_crm_with_the_contracts_tables() -> None:
    assert not settings().is_mapped
    assert list(settings().mapped_tables()) == [name for name in CONTRACT_COLUMNS if name != "consent_state"]
    assert settings().statements() == settings(preset="contract").statements()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_complete_mapping_that_can_be_printed(preset: str) -> None:
    assert settings(preset=preset, **OPT_INS).is_mapped
    printed = CliRunner().invoke(app, ["crm", "preset", preset])
    assert printed.output == preset_text(preset)
    copied = yaml.safe_load(printed.output)
    assert settings(**copied, **OPT_INS).mapped_tables() == settings(preset=preset, **OPT_INS).mapped_tables()


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    refused = CliRunner().invoke(app, ["crm", "preset", "sugarcrm"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "there is no preset sugarcrm; there are contract, suitecrm\n"


def test_tables_replace_those_of_the_preset_and_null_removes_them() -> None:
    tables = {"contact": PERSON, "account": None, "consent_event": None}
    mapped = settings(preset="contract", tables=tables).mapped_tables()
    assert mapped["contact"].table == "person"
    assert mapped["lead"].table == "lead"
    assert "account" not in mapped
    assert "consent_event" not in mapped


def test_statements_replace_those_of_the_preset() -> None:
    own = settings(preset="contract", write_back={"withdrawal": ["UPDATE a SET b = 1"]}).statements()
    assert own.withdrawal == ("UPDATE a SET b = 1",)
    assert own.bounce == settings(preset="contract").statements().bounce


STATES = {"contact": PERSON, "consent_state": PERSON}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"tables": {"consent_event": PERSON}, **OPT_INS, **STATEMENTS}, "needs contact, lead or account"),
        ({"tables": {"contact": PERSON}, **OPT_INS, **STATEMENTS}, "needs consent_event or consent_state"),
        ({"tables": STATES, **STATEMENTS}, "name the opt-ins in opt_ins"),
        ({"tables": STATES | {"marketing_list": PERSON}, **OPT_INS, **STATEMENTS}, "needs marketing_list_member"),
        ({"tables": STATES, **OPT_INS}, "write_back needs withdrawal and bounce: without statements"),
        ({"tables": {"contact": {}}}, "exactly one of table and query"),
        ({"tables": {"contact": {"table": "a", "query": "b"}}}, "exactly one of table and query"),
        ({"tables": {"lead": PERSON | {"constants": {"town": "x"}}}}, "lead has no column town in the contract"),
        ({"tables": {"report": PERSON | {"columns": {"nam": "x"}}}}, "report has no column nam in the contract"),
        (
            {"tables": {"report": PERSON | {"columns": {"name": "x"}, "constants": {"name": "y"}}}},
            "name is in columns and in constants",
        ),
        ({"write_back": {"bounce": ["UPDATE a SET b = :nonsense"]}}, "the parameter :nonsense isn't known; known are"),
        ({"write_back": {"withdrawal": []}}, "at least 1 item"),
        (
            {
                "tables": STATES | {"lead": PERSON},
                **OPT_INS,
                "write_back": STATEMENTS["write_back"] | {"bounce": ["UPDATE a SET c = 1 WHERE id = :entity_id"]},
            },
            "names :entity_id without :entity_type",
        ),
        (
            {"tables": {"marketing_list_member": PERSON | {"constants": {"marketing_list_id": "1"}}}},
            "can't have a constant marketing_list_id",
        ),
        (STATEMENTS, "write_back is for a CRM whose tables are mapped"),
        (OPT_INS, "opt_ins is for a CRM whose tables are mapped"),
        ({"people_max_age": "1h"}, "people_max_age has no effect: the contract's tables on PostgreSQL and SQLite"),
        ({"preset": "sugarcrm"}, "Input should be 'contract' or 'suitecrm'"),
    ],
)
def test_a_mapping_that_lacks_something_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        settings(**values)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mssql+pyodbc://u:geheim@h/crm", "SQL Server"),
        ("oracle://u:geheim@h/crm", "Oracle"),
        ("foo://u:geheim@h/c", "foo"),
    ],
)
def test_other_databases_are_refused_by_name(url: str, name: str) -> None:
    with pytest.raises(
        CrmError, match=rf"reads PostgreSQL, SQLite, MariaDB and MySQL; crm\.url names {name}"
    ) as caught:
        crm_engine(url)
    assert "geheim" not in str(caught.value)


def test_another_driver_for_mariadb_is_refused_with_the_one_that_works() -> None:
    with pytest.raises(CrmError, match=r"write mariadb:// and install campaign-sync\[mysql\]"):
        crm_engine("mariadb+mariadbconnector://u:p@h/crm")


DOCUMENTATION = Path(__file__).parents[1] / "docs" / "crm-sql.md"


def test_the_mappings_in_the_documentation_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(crm:.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    sections = [yaml.safe_load(block)["crm"] for block in blocks]
    assert len(sections) == 2
    for section in sections:
        assert settings(**{key: value for key, value in section.items() if key != "url"}).is_mapped
