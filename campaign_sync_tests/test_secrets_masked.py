"""No password is ever shown, neither by a printed object nor by a failing run."""

import json
import logging
import pprint
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from sqlalchemy import Engine

from campaign_sync.cli.run import problems
from campaign_sync.config import ConfigurationError, SqlSettings
from campaign_sync.config.base import ConfigModel
from campaign_sync.config.yaml_source import read_document
from campaign_sync.crm.port import CrmError
from campaign_sync.crm.sql.engine import crm_engine
from campaign_sync.delivered_files.sftp_keys import auth_sources
from campaign_sync.delivered_files.sftp_login import ConfiguredAuth
from campaign_sync.optimizely.concurrency import ConcurrencyLimiter
from campaign_sync.optimizely.session import Session
from campaign_sync.optimizely.transport import Transport
from campaign_sync.orchestration.resources import all_resources
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.storage.database import probe_database, state_engine
from campaign_sync.storage.errors import StateError
from campaign_sync_tests.installation import ENVIRONMENT, Installation, running_installation
from campaign_sync_tests.opened import opened
from campaign_sync_tests.scenarios.daily_run import FEEDBACK

CANARY = "zaunkoenig"
PASSWORD = f"{CANARY}<&>'4711"
DATABASE = f"postgresql://reader:{CANARY}%21@127.0.0.1:1/crm"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    with running_installation(tmp_path) as built:
        built.retry_policy = NO_RETRIES
        built.environment |= {"PASSWORD_OF_BOTH": PASSWORD, "DATABASE": DATABASE}
        yield built


def with_secrets_everywhere(shop: Installation) -> Installation:
    shop.settings["crm"]["url"] = {"env": "DATABASE"}
    shop.settings["storage"]["state_url"] = {"env": "DATABASE"}
    readers = {"getOutBounces": {"files": "b*"}, "getUnsubscribes": {"files": "u*"}}
    files = {"url": "sftp://127.0.0.1:1/in", "username": {"env": "USERNAME_OF_BOTH"}}
    shop.settings["mandators"]["nord"]["feedback"] = {
        "readers": readers,
        "files": files | {"password": {"env": "PASSWORD_OF_BOTH"}},
    }
    return shop


def shown(*things: object) -> str:
    return "\n".join(text for thing in things for text in (repr(thing), str(thing), f"{thing}", pprint.pformat(thing)))


def sections(value: Any) -> Iterator[ConfigModel]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from sections(inner)
    if isinstance(value, ConfigModel):
        yield value
        for name in type(value).model_fields:
            yield from sections(getattr(value, name))


def test_no_section_of_the_configuration_shows_a_secret(shop: Installation) -> None:
    configuration = with_secrets_everywhere(shop).configuration
    every = list(sections(configuration))
    assert len(every) > 10
    printed = shown(*every, *(section.model_dump() for section in every), configuration.model_dump_json())
    assert CANARY not in printed
    document = read_document("password: {env: X}")
    document.read_references({"X": CANARY}, lambda path: None, {"X": CANARY})
    assert document.value == {"password": CANARY}
    assert CANARY not in shown(document)
    assert configuration.mandators["nord"].password.get_secret_value() == PASSWORD


def test_no_object_with_a_secret_shows_it(shop: Installation) -> None:
    configuration = shop.configuration
    shop.vendor.add_mandator(8100, ENVIRONMENT["USERNAME_OF_BOTH"], PASSWORD)
    with opened(configuration) as resources:
        vendor = resources.vendor()
        transport = Transport(configuration.optimizely.base_url, parallel_calls=1, timeout_seconds=5)
        session = Session(transport, 8100, "user", PASSWORD, ConcurrencyLimiter(1, 60))
        held: list[object] = [
            *all_resources(configuration).values(),
            vendor,
            vendor.recipients,
            resources.state,
            transport,
            session,
            vars(resources),
        ]
    ways = list(auth_sources("the server", "user", PASSWORD, None, "feedback.files"))
    held += [ways, ConfiguredAuth("user", iter(ways))]
    assert CANARY not in shown(*held)


@pytest.mark.parametrize("url", [DATABASE, f"postgresql://reader@127.0.0.1:1/crm?password={CANARY}"])
def test_no_engine_and_no_error_of_a_database_shows_the_password(shop: Installation, url: str) -> None:
    shop.environment["DATABASE"] = url
    configuration = with_secrets_everywhere(shop).configuration
    assert isinstance(configuration.crm, SqlSettings)
    state_url, crm_url = configuration.storage.state_url.get_secret_value(), configuration.crm.url.get_secret_value()
    engines: list[Engine] = [state_engine(state_url), crm_engine(crm_url)]
    assert CANARY not in shown(*engines, *(engine.url for engine in engines))
    assert CANARY in engines[0].url.render_as_string(hide_password=False)
    for database in (url, state_url):
        with pytest.raises(StateError) as caught:
            probe_database(database)
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize("sign", ["@", "/", "?", "#", "@/"])
def test_an_unencoded_password_is_refused_without_showing_any_of_it(shop: Installation, sign: str) -> None:
    url = f"postgresql://reader:{CANARY}{sign}{CANARY}@127.0.0.1:1/crm"
    for call in (lambda: probe_database(url), lambda: crm_engine(url)):
        with pytest.raises((StateError, CrmError), match="percent-encode") as caught:
            call()
        assert CANARY not in str(caught.value)
    for section, key in (("crm", "url"), ("storage", "state_url")):
        with_secrets_everywhere(shop)
        shop.settings[section][key] = {"env": "AMBIGUOUS"}
        shop.environment["AMBIGUOUS"] = url
        with pytest.raises(
            ConfigurationError, match=rf"{section}\.{key}: the URL can be read in several ways"
        ) as refused:
            assert shop.configuration
        assert CANARY not in str(refused.value)


def test_dagster_receives_no_secret(shop: Installation) -> None:
    definitions = with_secrets_everywhere(shop).definitions
    repository = definitions.get_repository_def()
    snapshot = serialize_value(RepositorySnap.from_def(repository))  # all that the webserver receives
    assert "nord_daily_replace" in snapshot
    assert json.loads(snapshot)
    assert CANARY not in snapshot + shown(definitions, repository, *repository.get_top_level_resources().values())


def test_failing_runs_write_no_secret(
    shop: Installation, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    reported: list[str] = []
    home = tmp_path / "dagster"
    home.mkdir()
    with caplog.at_level(logging.DEBUG), dg.instance_for_test(temp_dir=str(home)) as instance:
        reported += problems(shop.run(instance=instance, assets=FEEDBACK))
        shop.vendor.add_mandator(8100, ENVIRONMENT["USERNAME_OF_BOTH"], PASSWORD)
        for section, key in (("crm", "url"), ("storage", "state_url")):
            shop.settings[section][key] = {"env": "DATABASE"}
            reported += problems(shop.run(instance=instance, assets=FEEDBACK))
    for reason in ("the vendor doesn't let this user in", "in the CRM at 127.0.0.1:1/crm", "can't be opened"):
        assert any(reason in sentence for sentence in reported), reported
    files = [file for file in home.rglob("*") if file.is_file()]
    assert any(file.suffix == ".db" for file in files)
    for file in files:
        assert CANARY.encode() not in file.read_bytes(), file
    printed = capfd.readouterr()
    assert CANARY not in "".join([*reported, caplog.text, printed.out, printed.err])


@pytest.mark.parametrize(
    ("section", "key", "url"),
    [
        ("storage", "frames", f"s3://key:{CANARY}@bucket/frames"),
        ("feedback", "url", f"sftp://user:{CANARY}@127.0.0.1/in"),
        ("feedback", "url", f"sftp://user:{CANARY}/{CANARY}@127.0.0.1/in"),
        ("feedback", "url", f"sftp://user:{CANARY}@{CANARY}@127.0.0.1/in"),
        ("storage", "frames", f"s3:/key:{CANARY}@bucket/frames"),
        ("storage", "frames", f"abfs://frames:{CANARY}@account.dfs.core.windows.net"),
    ],
)
def test_a_password_in_any_other_url_is_refused(shop: Installation, section: str, key: str, url: str) -> None:
    with_secrets_everywhere(shop)
    holder = (
        shop.settings["mandators"]["nord"]["feedback"]["files"] if section == "feedback" else shop.settings[section]
    )
    holder[key] = url
    with pytest.raises(ConfigurationError, match=r"the URL has a password in it") as caught:
        assert shop.configuration
    assert CANARY not in str(caught.value)


def test_a_container_before_its_account_is_no_password(shop: Installation) -> None:
    shop.settings["storage"]["frames"] = "abfs://frames@account.dfs.core.windows.net/a:b@c"
    assert shop.configuration
