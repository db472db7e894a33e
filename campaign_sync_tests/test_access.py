"""`campaign-sync access`: everything that is stored of a person, and nothing of others."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from campaign_sync.cli.fact_sheet import fact_sheet
from campaign_sync.domain.message import Language
from campaign_sync.domain.windows import Window
from campaign_sync.storage.files import FileStorage
from campaign_sync_tests.installation import ENVIRONMENT, NORD, Installation, epoch_ms, running_installation
from campaign_sync_tests.test_cli import campaign_sync

PERSON, OTHERS = "person1@example.org", [f"person{number}@example.org" for number in range(2, 6)]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path, two_lists=False) as running:
        yield running


def places(installation: Installation, who: str, folder: str) -> dict[str, list[dict[str, Any]]]:
    done = campaign_sync(installation.folder, "access", who, "--output", folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "@" not in done.stdout
    document = json.loads((installation.folder / folder / "person.json").read_text("utf-8"))
    return {place["place"]: place["entries"] for place in document["places"]}


@pytest.mark.parametrize(("language", "words"), [("de", "Wer es sieht"), ("en", "Who sees it")])
def test_the_fact_sheet_has_every_field_and_every_limit_and_no_secret(
    installation: Installation, language: Language, words: str
) -> None:
    installation.settings["mandators"]["nord"]["owners"] = ["kim@company.example"]
    installation.settings["alarms"] = {"webhooks": {"chat": {"url": {"env": "HOOK"}}}}
    installation.environment["HOOK"] = "https://hooks.example.org/secret"
    installation.settings["erasure"] = {"copies": "s3://copies"}
    configuration = installation.configuration
    page = fact_sheet(configuration, NOW, language)
    assert words in page
    settings = configuration.mandators["nord"].lists["newsletter"]
    names = ("newsletter-nord", "kim@company.example", "chat", "s3://copies")
    for text in (*settings.attributes, *settings.attributes.values(), *names):
        assert text in page
    assert page.count("<td>400</td>") == 4
    assert page.count("<td>1100</td>") == 3
    assert not [secret for secret in (*ENVIRONMENT.values(), "hooks.example.org") if secret in page]
    assert "GDPR" not in page or language == "en"


def test_all_places_are_searched_and_nothing_of_others_is_written(installation: Installation) -> None:
    installation.leave("Person1@Example.org")
    installation.leave("person2@example.org")
    for address in (PERSON, OTHERS[3]):
        bounced = [[address, epoch_ms(datetime.now(UTC) - timedelta(hours=2))]]
        installation.vendor.publish(NORD, "getOutBounces", bounced)
    installation.day()
    installation.settings["language"] = "de"
    frames = FileStorage(installation.configuration.storage.frames)
    opened = pd.DataFrame({"recipient_id": [PERSON, OTHERS[0]], "mailing_id": [1, 1]})
    frames.add_to_partition("responses/nord/opens/day=2026-11-23", Window(NOW, NOW), opened)
    raw = frames.write_raw("feedback/nord/getUnsubscribes", Window(NOW, NOW), b"\xff Person1@EXAMPLE.org", {})[0]
    umask = os.umask(0o000)
    try:
        by_address = places(installation, " PERSON1@example.org ", "answer")
    finally:
        os.umask(umask)

    assert {name: len(rows) for name, rows in by_address.items()} == {
        "CRM": 10,
        "Snapshots and plans of recipient lists": 0,
        "Selection and suppression of the last run": 3,
        "Feedback as received": 3,
        "Opens, clicks and other responses": 1,
        "State database, table write_back": 3,
        "State database, table known_withdrawal": 2,
        "State database, table rejection": 1,
        "State database, table unsubscribed_recipient": 1,
        "State database, table inquiry": 1,
    }
    assert [row["file"] for row in by_address["Feedback as received"] if "content" in row] == [raw]
    folder = installation.folder / "answer"
    assert [oct(path.stat().st_mode)[-3:] for path in (folder, *sorted(folder.iterdir()))] == ["700", "600", "600"]
    page = (folder / "person.html").read_text("utf-8")
    assert "Was über person1@example.org gespeichert ist" in page
    assert not [other for other in OTHERS if other in page + (folder / "person.json").read_text("utf-8")]

    of_other = places(installation, "contact:c3", "other")
    (row,) = of_other["Snapshots and plans of recipient lists"]
    assert (row["recipient_id"], row["list"], row["files"]) == ("person3@example.org", "nord/newsletter", 1)
    assert PERSON not in (installation.folder / "other" / "person.json").read_text("utf-8")

    again = campaign_sync(installation.folder, "access", PERSON, "--output", "answer")
    unknown = campaign_sync(installation.folder, "access", "unknown@example.org")
    assert (again.returncode, unknown.returncode, unknown.stdout) == (2, 1, "")
    assert "exists" in again.stderr
    assert "unknown@" not in unknown.stderr

    installation.settings["erasure"] = {"key": {"env": "ERASURE_KEY"}}
    assert installation.configuration
    key = "0123456789abcdef" * 4
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ERASURE_KEY", key)
        erased = campaign_sync(installation.folder, "erase", PERSON, "--reason", "request 7", "--yes")
        assert erased.returncode == 0, erased.stdout
        left = places(installation, PERSON, "afterwards")
    by_hash = {f"State database, table {table}" for table in ("erasure_subject", "inquiry", "unsubscribed_recipient")}
    assert {name for name, rows in left.items() if rows} == {"CRM", *by_hash}
    assert PERSON not in str([left[name] for name in by_hash])
    assert sorted(row["command"] for row in left["State database, table inquiry"]) == ["access", "access", "erase"]
