"""`{file: PATH}`: secrets in files, as Docker and Kubernetes provide them."""

import os
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from campaign_sync.config import (
    Configuration,
    ConfigurationError,
    SqlSettings,
    UnavailableError,
    configuration_schema,
    load_configuration,
    unavailable_secrets,
)
from campaign_sync.config.references import MAX_BYTES

CANARY = "Zaunkönig-4711"


def configuration(folder: Path, password: dict[str, str], crm_url: object = "sqlite:///crm.db") -> dict[str, Any]:
    (folder / "user").write_text("nord-user\n")
    newsletter = {
        "recipient_list_id": 11,
        "kind": "regular",
        "opt_in_id": "newsletter-nord",
        "select": {"marketing_list": "Newsletter"},
    }
    credentials = {"username": {"file": str(folder / "user")}, "password": password}
    return {
        "optimizely": {"base_url": "https://api.example.org/soap11"},
        "crm": {"url": crm_url},
        "mandators": {"nord": {"mandator_id": 8100, **credentials, "lists": {"newsletter": newsletter}}},
    }


def load(folder: Path, settings: dict[str, Any]) -> Configuration:
    file = folder / "campaign_sync.yaml"
    file.write_text(yaml.safe_dump(settings))
    return load_configuration(file, {})


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (CANARY, CANARY),
        (f"{CANARY}\n", CANARY),
        (f"{CANARY}\r\n", CANARY),
        (f"\ufeff{CANARY}", CANARY),
        (f" {CANARY} \n\n", f" {CANARY} \n"),
        ("8100\n", "8100"),
    ],
)
def test_a_value_is_the_content_of_the_file_without_the_line_break_at_its_end(
    tmp_path: Path, content: str, value: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content.encode())
    nord = load(tmp_path, configuration(tmp_path, {"file": str(secret)})).mandators["nord"]
    assert (nord.username.get_secret_value(), nord.password.get_secret_value()) == ("nord-user", value)


def test_a_kubernetes_secret_is_a_link_to_a_link(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "password").write_text(CANARY)
    (tmp_path / "password").symlink_to(tmp_path / "..data" / "password")
    nord = load(tmp_path, configuration(tmp_path, {"file": str(tmp_path / "password")})).mandators["nord"]
    assert nord.password.get_secret_value() == CANARY


def test_database_urls_with_passwords_and_any_other_single_value_may_be_in_files(tmp_path: Path) -> None:
    for name, text in (("crm", f"postgresql://me:{CANARY}@db/crm\n"), ("id", "8200\n"), ("password", CANARY)):
        (tmp_path / name).write_text(text)
    settings = configuration(tmp_path, {"file": str(tmp_path / "password")}, {"file": str(tmp_path / "crm")})
    settings["mandators"]["nord"]["mandator_id"] = {"file": str(tmp_path / "id")}
    assert Draft202012Validator(configuration_schema()).is_valid(settings)
    loaded = load(tmp_path, settings)
    assert isinstance(loaded.crm, SqlSettings)
    assert loaded.crm.url.get_secret_value() == f"postgresql+psycopg2://me:{CANARY}@db/crm"
    assert loaded.mandators["nord"].mandator_id == 8200


def test_the_json_schema_allows_exactly_two_references_for_a_credential(tmp_path: Path) -> None:
    schema = Draft202012Validator(configuration_schema())
    settings = configuration(tmp_path, {"file": "/run/secrets/password"})
    files = {"url": "in", "password": {"file": "x"}, "username": {"env": "X"}}
    settings["mandators"]["nord"]["feedback"] = {"files": files}
    assert schema.is_valid(settings)
    files["password"] = None  # type: ignore[assignment]
    assert schema.is_valid(settings)
    for wrong in ({"file": ""}, {"file": "a", "env": "b"}, {"vault": "x"}, "plain"):
        settings["mandators"]["nord"]["password"] = wrong
        assert not schema.is_valid(settings)


def test_a_file_without_a_value_is_a_problem_with_its_place_and_never_its_content(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin").write_bytes(CANARY.encode("latin-1"))
    (tmp_path / "large").write_text(CANARY * MAX_BYTES)
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (
        ("missing", "isn't there"),
        ("user/missing", "isn't there"),
        ("folder", "can't be read: it is a folder"),
        ("pipe", "can't be read: it isn't a regular file"),
        ("empty", "is empty"),
        ("latin", "isn't UTF-8"),
        ("large", "is larger than 64 KiB, so it holds something else"),
    ):
        nord = load(tmp_path, configuration(tmp_path, {"file": str(tmp_path / name)})).mandators["nord"]
        with pytest.raises(UnavailableError) as caught:
            nord.password.get_secret_value()
        (reported,) = unavailable_secrets(nord)
        assert reported == str(caught.value)
        assert reported.endswith(f" mandators.nord.password: the file {tmp_path / name} {problem}")
        assert "Zaun" not in reported
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    path = "\0" if os.geteuid() == 0 else str(tmp_path / "secret")  # root reads everything
    (tmp_path / "secret").touch(mode=0o000)
    nord = load(tmp_path, configuration(tmp_path, {"file": path})).mandators["nord"]
    (reported,) = unavailable_secrets(nord)
    assert "can't be read" in reported


def test_a_password_in_the_file_itself_is_refused_with_both_remedies(tmp_path: Path) -> None:
    settings = configuration(tmp_path, {"file": str(tmp_path / "user")}, f"postgresql://me:{CANARY}@db/crm")
    settings["mandators"]["nord"]["username"] = CANARY
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, settings)
    assert len(caught.value.problems) == 2
    assert all("{env: NAME}" in reported and "{file: PATH}" in reported for reported in caught.value.problems)
    assert CANARY not in str(caught.value)
