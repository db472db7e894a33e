"""`campaign-sync feedback sample`: pseudonymized rows of the vendor's feedback, and a guess at their layout."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from campaign_sync.cli.sample import show_sample
from campaign_sync.domain.feedback_rows import Layout, parse_rows
from campaign_sync.optimizely.errors import CredentialsError
from campaign_sync.sandbox.caller import Caller
from campaign_sync.sandbox.web_services import HANDLERS
from campaign_sync_tests.installation import ENVIRONMENT, NORD, Installation, running_installation
from campaign_sync_tests.test_cli import campaign_sync, cells

GERMAN = [
    ["Mailing-ID", "Empfänger", "Vorname", "Kundennummer", "Ereignis", "Art"],
    *(
        [f"20000000{day}", f"Person{day}@Example.org", "Jürgen", f"4711{day}", f"{day}.11.2026 07:30:00", "Hard Bounce"]
        for day in range(11, 19)
    ),
]
SECRETS = ("@", "erson1", "xample", "Jürgen", "4711")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path) as running:
        yield running


def output_of(installation: Installation, days: int = 7) -> str:
    text = io.StringIO()
    show_sample(installation.configuration, "nord", days, Console(file=text, width=160))
    return text.getvalue()


def readers(text: str) -> dict[str, dict[str, Any]]:
    """Return the readers that are to be pasted into the configuration."""
    settings: dict[str, Any] = yaml.safe_load(text[text.index("\nfeedback:") :])
    assert set(settings) == {"feedback"}
    pasted: dict[str, dict[str, Any]] = settings["feedback"]["readers"]
    return pasted


def test_rows_with_a_header_are_shown_pseudonymized_with_settings_to_paste(installation: Installation) -> None:
    installation.vendor.publish(NORD, "getResponses", GERMAN)

    text = output_of(installation)

    assert not [secret for secret in SECRETS if secret in text]
    assert "getResponses: 5 of 9 rows" in text
    lines = [cells(line) for line in text.splitlines()]
    assert ["0", "1", "2", "3", "4", "5"] in lines
    assert GERMAN[0] in lines
    with installation.state() as state:
        person = state.pseudonyms.of("person11@example.org")
    row = ["2000000011", person, "text (6 characters)", "number (6 digits)", "11.11.2026 07:30:00", "Hard Bounce"]
    assert row in lines
    assert readers(text) == {
        "getResponses": {
            "recipient": "Empfänger",
            "time": "Ereignis",
            "category": "Art",
            "mailing": "Mailing-ID",
            "header": True,
            "time_format": "%d.%m.%Y %H:%M:%S",
        }
    }


def test_the_pasted_settings_parse_every_row(installation: Installation) -> None:
    installation.vendor.publish(NORD, "getResponses", GERMAN)

    pasted = readers(output_of(installation))["getResponses"]

    names = ("recipient", "time", "category", "mailing", "header", "time_format")
    layout = Layout(**{name: pasted[name] for name in names})
    parsed = parse_rows(GERMAN, layout, datetime(2026, 12, 31, tzinfo=UTC))
    assert (len(parsed.rows), parsed.unparsed) == (8, ())


def test_the_vendors_default_rows_become_one_line_each(installation: Installation) -> None:
    moment = str(int(datetime.now(UTC).timestamp() * 1000))
    installation.vendor.publish(
        NORD, "getOutBounces", [["person1@example.org", moment], ["person2@example.org", moment]]
    )
    installation.leave("person3@example.org")

    text = output_of(installation)

    layout = "{recipient: 0, time: 1, header: false, time_format: epoch_ms}"
    assert text.endswith(f"feedback:\n  readers:\n    getOutBounces: {layout}\n    getUnsubscribes: {layout}\n")
    assert moment in text
    assert "?" not in text


def test_technical_fields_are_recognized_and_records_are_not_shown(installation: Installation) -> None:
    moment = str(int(datetime.now(UTC).timestamp() * 1000))
    rows = [
        [f"person{number}@example.org", moment, "newsletter-nord", "contact", f"C4711{number}"] for number in (1, 2)
    ]
    installation.vendor.publish(NORD, "getUnsubscribes", [*rows, ["person3@example.org", moment, "", "", ""]])

    text = output_of(installation)

    assert readers(text)["getUnsubscribes"] == {
        "recipient": 0,
        "time": 1,
        "opt_in_id": 2,
        "entity_type": 3,
        "entity_id": 4,
        "header": False,
        "time_format": "epoch_ms",
    }
    assert "newsletter-nord" in text
    assert "4711" not in text


def test_a_reader_without_rows_in_the_window_is_a_line(installation: Installation) -> None:
    rows = [["person1@example.org", "24.11.2026"]]
    installation.vendor.publish(NORD, "getResponses", rows, datetime.now(UTC) - timedelta(days=9))

    assert "getResponses: no rows in the last 7 days" in output_of(installation)
    assert "getResponses: 1 of 1 rows" in output_of(installation, days=10)
    assert "feedback:" not in output_of(installation)


def test_a_reader_that_the_account_may_not_use_is_a_line_and_the_others_are_shown(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(caller: Caller, *_: int) -> list[list[str]]:
        raise caller.fault("Permission denied")

    monkeypatch.setitem(HANDLERS, ("ClosedLoop", "getOutBounces"), refuse)
    installation.leave("person3@example.org")

    text = output_of(installation)

    assert text.startswith("getOutBounces: ClosedLoop.getOutBounces of mandator 8100: the vendor refuses the call")
    assert list(readers(text)) == ["getUnsubscribes"]


def test_what_cannot_be_guessed_is_null_with_a_doubt(installation: Installation) -> None:
    installation.vendor.publish(
        NORD, "getUnsubscribes", [["person1@example.org", "01/02/2026"], ["4711", "03/04/2026"]]
    )

    text = output_of(installation)

    assert "? the dates in column 1 don't show whether day or month comes first" in text
    assert "Each null has to be filled in" in text
    assert readers(text)["getUnsubscribes"]["time_format"] is None


def test_at_most_two_hundred_rows_are_read_and_nothing_is_changed(installation: Installation) -> None:
    installation.vendor.publish(NORD, "getUnsubscribes", [["person1@example.org", "2026-11-24"]] * 300)

    assert "getUnsubscribes: 5 of at least 200 rows" in output_of(installation)
    called = {call.operation for call in installation.vendor.calls() if call.service == "ClosedLoop"}
    assert called == {
        *("getCurrentTime", "getOutBounces", "getUnsubscribes", "getMailingUnsubscribes", "getResponses"),
    }
    assert {call.service for call in installation.vendor.calls()} == {"Session", "ClosedLoop"}


def test_a_wrong_password_is_an_error_of_one_sentence(installation: Installation) -> None:
    installation.vendor.add_mandator(NORD, ENVIRONMENT["USERNAME_OF_BOTH"], "changed")

    with pytest.raises(CredentialsError, match="doesn't let this user in"):
        output_of(installation)


def test_the_command_takes_known_mandators_and_up_to_30_days(installation: Installation) -> None:
    installation.leave("person3@example.org")
    assert installation.configuration  # writes the file

    done = campaign_sync(installation.folder, "feedback", "sample", "nord", "--days", "30")
    assert done.returncode == 0, done.stderr
    assert readers(done.stdout)["getUnsubscribes"]["recipient"] == 0
    unknown = campaign_sync(installation.folder, "feedback", "sample", "west", new_python=True)
    assert (unknown.returncode, "it has nord, sued" in unknown.stderr) == (2, True)
    assert campaign_sync(installation.folder, "feedback", "sample", "nord", "--days", "31").returncode == 2
