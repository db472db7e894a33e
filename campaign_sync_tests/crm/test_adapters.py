"""Adapters by entry point: which one a configuration names, and what is said if it can't be used."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from campaign_sync.config import Configuration, ConfigurationError, SqlSettings, configuration_schema
from campaign_sync.config.crm_adapters import all_offers
from campaign_sync.config.loader import load_configuration
from campaign_sync.crm.adapter import CrmContext
from campaign_sync.crm.mirror.memory import ConsentMemory
from campaign_sync.crm.open import open_crm
from campaign_sync.crm.port import CrmNeeds, CrmSetupError, Pick
from campaign_sync.crm.sql.adapter import SqlCrm
from campaign_sync.storage.state import State
from campaign_sync_tests.crm.small_crm import SmallCrm
from campaign_sync_tests.orchestration.settings import configuration

_MODULE = """
from typing import Literal
from campaign_sync.config.base import ConfigModel
from campaign_sync.config.crm import CrmSettings
from campaign_sync.crm.adapter import CrmAdapter

class Shelf(ConfigModel):
    row: int

class Settings(CrmSettings):
    adapter: Literal["card_index"]
    drawer: str
    shelves: dict[str, Shelf] = {}
    rooms: list[Shelf] | None = None

def open_it(settings, context):
    return settings, context

ADAPTER = CrmAdapter(Settings, open_it)
NOTHING = object()
"""

_YAML = """\
optimizely: {base_url: "https://api.example.org/soap11"}
crm:
  CRM
mandators:
  nord:
    mandator_id: 8100
    username: {env: USERNAME}
    password: {env: PASSWORD}
    lists:
      newsletter:
        recipient_list_id: 11
        kind: regular
        opt_in_id: newsletter-nord
        select: {marketing_list: Newsletter}
        attributes: {Vorname: first_name}
"""


def install(folder: Path, name: str, entry_points: str, module: str, text: str) -> None:
    """Install a package as a wheel does: a module, and the data of the distribution beside it."""
    data = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    data.mkdir()
    (data / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (data / "entry_points.txt").write_text(f"[campaign_sync.crm]\n{entry_points}\n")
    (folder / f"{module}.py").write_text(text)
    invalidate_caches()
    all_offers.cache_clear()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, with the adapter `card_index` in it."""
    folder = tmp_path / "packages"
    folder.mkdir()
    install(folder, "card-index", "card_index = card_index_crm:ADAPTER", "card_index_crm", _MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, "card_index_crm", None)  # forgotten at the end
    del sys.modules["card_index_crm"]
    return folder


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[ConsentMemory]:
    with State(f"sqlite:///{tmp_path / 'state.db'}") as state:
        yield state.consent_memory()


def load(folder: Path, crm: str) -> Configuration:
    file = folder / "campaign_sync.yaml"
    file.write_text(_YAML.replace("CRM", crm.replace("\n", "\n  ")))
    return load_configuration(file, {"USERNAME": "user", "PASSWORD": "sesame"})


def problems(folder: Path, crm: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, crm)
    return [problem.partition("campaign_sync.yaml:")[2] for problem in caught.value.problems]


def test_the_adapter_is_sql_if_none_is_named(tmp_path: Path) -> None:
    assert isinstance(load(tmp_path, "url: sqlite:///crm.db").crm, SqlSettings)
    assert isinstance(load(tmp_path, "adapter: sql\nurl: sqlite:///crm.db").crm, SqlSettings)


@pytest.mark.usefixtures("packages")
def test_an_adapter_of_another_package_has_settings_of_its_own(tmp_path: Path, memory: ConsentMemory) -> None:
    loaded = load(tmp_path, "adapter: card_index\ndrawer: a-k\nshelves: {top: {row: 1}}")
    settings, context = cast(tuple[Any, CrmContext], open_crm(loaded, memory))
    assert loaded.crm == settings
    assert (settings.drawer, settings.shelves["top"].row) == ("a-k", 1)
    assert context.folder == Path(".campaign_sync/crm")
    assert context.needs == CrmNeeds(frozenset({Pick("marketing_list", "Newsletter")}), frozenset({"first_name"}))


@pytest.mark.usefixtures("packages")
def test_mistakes_in_its_settings_have_their_places(tmp_path: Path) -> None:
    keys = ["url: sqlite:///crm.db", "drawers: a-k", "shelves: {top: {row: first, colum: 2}}", "rooms: [{rwo: 1}]"]
    reported = problems(tmp_path, "\n".join(["adapter: card_index", *keys]))
    assert re.sub(r"adapter, .*, drawer", "adapter, …, drawer", "\n".join(reported)).split("\n") == [
        "2:1 crm.drawer: this key is required",
        "4:3 crm.url: this key isn't known; known here are adapter, …, drawer, shelves, rooms",
        "5:3 crm.drawers: this key isn't known; did you mean drawer?",
        "6:24 crm.shelves.top.row: a whole number is expected",
        "6:31 crm.shelves.top.colum: this key isn't known; known here are row",
        "7:3 crm.rooms.0.row: this key is required",
        "7:12 crm.rooms.0.rwo: this key isn't known; did you mean row?",
    ]


@pytest.mark.usefixtures("packages")
def test_an_adapter_that_isnt_installed_is_refused_with_the_names_of_those_that_are(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "adapter: salesfoce\nurl: sqlite:///crm.db")
    assert problem.startswith("3:12 crm.adapter: there is no such adapter; installed are card_index, ")
    assert "sql. Correct the name, or install the package" in problem
    (problem,) = problems(tmp_path, "adapter: 7\nurl: sqlite:///crm.db")
    assert problem.startswith("3:12 crm.adapter: the name of an adapter is expected: card_index, ")
    assert problems(tmp_path, "sql") == ["3:3 crm: a section with keys is expected here"]


@pytest.mark.parametrize(
    ("entry_point", "text", "expected"),
    [
        ("odd = odd_crm:ADAPTER", "import a_missing_module", "the module a_missing_module isn't installed"),
        ("odd = odd_crm:ADAPTER [web]", "import a_missing_module", "pip install --upgrade 'odd-crm[web]'"),
        ("odd = odd_crm:ADAPTER", "from json import no_such_name", "a module of it, or of what it needs, doesn't fit"),
        ("odd = odd_crm:ADAPTER", "1 / 0", "of the package odd-crm can't be imported: ZeroDivisionError"),
        ("odd = odd_crm:OTHER", "ADAPTER = 1", "of the package odd-crm can't be imported: AttributeError"),
        ("odd = odd_crm:ADAPTER", "ADAPTER = 1", "of the package odd-crm offers no CrmAdapter"),
    ],
    ids=["missing module", "missing extra", "missing name", "error", "missing object", "another object"],
)
def test_an_adapter_that_cant_be_imported_is_one_mistake_with_its_package(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_point: str, text: str, expected: str
) -> None:
    install(packages, "odd-crm", entry_point, "odd_crm", text)
    monkeypatch.setitem(sys.modules, "odd_crm", None)
    del sys.modules["odd_crm"]
    (problem,) = problems(tmp_path, "adapter: odd")
    assert problem.startswith("3:12 crm.adapter: the adapter odd of the package odd-crm ")
    assert expected in problem


def test_two_packages_with_the_same_adapter_are_refused_by_name(packages: Path, tmp_path: Path) -> None:
    install(packages, "other-index", "card_index = card_index_crm:ADAPTER", "other_index_crm", "")
    assert problems(tmp_path, "adapter: card_index\ndrawer: a-k") == [
        (
            "3:12 crm.adapter: several packages offer the adapter card_index: card-index, other-index; "
            "uninstall all but one of them"
        )
    ]


@pytest.mark.usefixtures("packages")
def test_the_json_schema_takes_the_sections_of_all_installed_adapters() -> None:
    schema = Draft202012Validator(configuration_schema())

    def is_valid(**crm: object) -> bool:
        whole = {"optimizely": {"base_url": "https://api.example.org/soap11"}, "crm": crm, "mandators": {"nord": NORD}}
        return schema.is_valid(whole)

    assert is_valid(url="sqlite:///crm.db")
    assert is_valid(adapter="card_index", drawer="a-k")
    assert not is_valid(adapter="card_index", url="sqlite:///crm.db")
    assert not is_valid(adapter="other", drawer="a-k")


NORD = {
    "mandator_id": 8100,
    "username": {"env": "USERNAME"},
    "password": {"env": "PASSWORD"},
    "lists": {
        "newsletter": {"recipient_list_id": 11, "kind": "regular", "opt_in_id": "a", "select": {"report": "Everybody"}}
    },
}


def test_the_adapter_of_a_configuration_opens_its_crm(small_sqlite: SmallCrm, memory: ConsentMemory) -> None:
    assert isinstance(open_crm(configuration(small_sqlite.url), memory), SqlCrm)


def test_an_adapter_that_was_uninstalled_meanwhile_is_a_crm_error(memory: ConsentMemory) -> None:
    loaded = configuration()
    gone = loaded.crm.model_copy(update={"adapter": "gone"})
    with pytest.raises(CrmSetupError, match="adapter gone: there is no such adapter; installed are"):
        open_crm(loaded.model_copy(update={"crm": gone}), memory)


def test_no_printed_form_of_the_configuration_shows_a_secret_of_the_crm() -> None:
    loaded = configuration("postgresql://host/crm")
    assert isinstance(loaded.crm, SqlSettings)
    assert isinstance(loaded.crm.url, SecretStr)
    assert "postgresql" not in f"{loaded!r}{loaded}{loaded.model_dump_json()}"


def test_finding_an_adapter_imports_no_driver() -> None:
    program = (
        "import sys; from campaign_sync.config.crm_adapters import settings_model; settings_model({});"
        "heavy = {'psycopg2', 'dagster', 'campaign_sync.crm.sql.adapter', 'campaign_sync.crm.port'};"
        "print(sorted(heavy & {*sys.modules}))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
