"""Files that a job of the vendor delivers: a bad file or row doesn't stop the others, and only new content counts."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.run import problems
from campaign_sync.cli.unread_rows import dismiss_unread, show_unread
from campaign_sync.delivered_files import file_source
from campaign_sync_tests.installation import NORD, Installation, epoch_ms
from campaign_sync_tests.scenarios.daily_run import FEEDBACK, check, withdrawals

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
HEADER = "Empfänger;Zeit\n"


def row(name: str, at: datetime = NOW - 2 * HOUR) -> str:
    return f"{name}@example.org;{epoch_ms(at)}\n"


@pytest.fixture
def outbox(installation: Installation) -> Path:
    folder = installation.folder / "delivered"
    folder.mkdir()
    installation.settings["mandators"]["nord"]["feedback"] = {
        "files": {"url": str(folder)},
        "readers": {
            "getOutBounces": {"files": "bounces_*"},
            "getUnsubscribes": {"files": "left_*", "recipient": "Empfänger", "time": "Zeit"},
        },
    }
    deliver(folder, "bounces_1.csv", row("stranger"))
    return folder


def deliver(folder: Path, name: str, content: str | bytes, age: timedelta = HOUR) -> None:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, ((NOW - age).timestamp(),) * 2)


def import_feedback(installation: Installation) -> dg.ExecuteInProcessResult:
    return installation.run(assets=FEEDBACK)


def layout_result(result: dg.ExecuteInProcessResult) -> str:
    evaluation = check(result, "layout")
    return "passed" if evaluation.passed else str(evaluation.description)


def test_a_file_without_its_header_is_named_and_read_when_it_is_delivered_again(
    installation: Installation, outbox: Path
) -> None:
    deliver(outbox, "left_1.csv", row("person1") + row("person2"), 3 * HOUR)
    assert "left_1.csv" in problems(import_feedback(installation))[0], (
        "nothing fits, and the layout isn't confirmed yet"
    )

    deliver(outbox, "left_2.csv", HEADER + row("person3"), 2 * HOUR)
    result = import_feedback(installation)

    assert result.success
    assert "2 rows of left_1.csv: there is no header row with 'Empfänger', 'Zeit'" in layout_result(result)
    assert {who for who, _ in withdrawals(installation)} == {"c3"}

    deliver(outbox, "left_1_corrected.csv", HEADER + row("person1") + row("person2"))
    assert layout_result(import_feedback(installation)) == "passed"
    assert {who for who, _ in withdrawals(installation)} == {"c1", "c2", "c3"}
    assert layout_result(import_feedback(installation)) == "passed", "it isn't asked for again"


def test_a_corrected_configuration_makes_stored_files_readable(installation: Installation, outbox: Path) -> None:
    deliver(outbox, "left_1.csv", HEADER + row("person1"), 3 * HOUR)
    deliver(outbox, "left_2.csv", "Empfänger;Zeit;Grund\n" + row("person2").strip() + ";a,b\nc;d;e;f\n,g\n")
    assert "left_2.csv doesn't show what separates its values; name the separator" in layout_result(
        import_feedback(installation)
    )
    (outbox / "left_2.csv").unlink()

    installation.settings["mandators"]["nord"]["feedback"]["files"]["separator"] = ";"
    result = import_feedback(installation)

    assert {who for who, _ in withdrawals(installation)} == {"c1", "c2"}
    assert "2 rows of left_2.csv: no address" in layout_result(result), "and no more than that"


def test_rows_that_can_never_be_read_are_dismissed_by_an_operator_with_a_reason(
    installation: Installation, outbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(outbox, "left_1.csv", "Abmeldungen\n" * 12, 3 * HOUR)
    assert "left_1.csv" in problems(import_feedback(installation))[0], "the layout isn't confirmed yet"
    assert dismiss_only_file(installation, capsys, "Abmeldungen sind nur die Ueberschrift") == "left_1.csv"
    deliver(outbox, "left_2.csv", HEADER + row("person1") + "Summe;1\n")
    assert "1 row of left_2.csv" in layout_result(import_feedback(installation))

    assert dismiss_only_file(installation, capsys, "the sum") == "left_2.csv"

    assert layout_result(import_feedback(installation)) == "passed"
    assert {who for who, _ in withdrawals(installation)} == {"c1"}
    assert show_unread(installation.configuration, "nord", Console())
    with pytest.raises(CommandError, match="it has none"):
        dismiss_unread(installation.configuration, "nord", "", "again", Console())


def dismiss_only_file(installation: Installation, capsys: pytest.CaptureFixture[str], reason: str) -> str:
    """Dismiss the only file that is shown with rows that can't be read, and return its name."""
    assert not show_unread(installation.configuration, "nord", Console(width=300))
    *_, shown = (line for line in capsys.readouterr().out.splitlines() if "left_" in line)
    import_id, _, name, *_ = shown.split()
    dismiss_unread(installation.configuration, "nord", import_id, reason, Console())
    return name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            (HEADER + row("person1")).encode() + b"J\xf6rg@example.com;1\n",
            "1 row of left_2.csv: left_2.csv isn't UTF-8",
        ),
        ((HEADER + row("person1") + "\0;1\n").encode(), "1 row of left_2.csv: left_2.csv has a NUL"),
        ((HEADER + row("person1") + 'x;"1\n' + row("y")).encode(), "1 row of left_2.csv: left_2.csv is cut off"),
        ((HEADER + row("person1") + "x\n").encode(), "1 row of left_2.csv: no address or time where"),
        ((HEADER + row("person1")).encode("utf-16"), "of left_2.csv: left_2.csv isn't UTF-8"),
        (b"Zeit;Empf\xc3\xa4nger;Zeit\n1;person1@example.org;2\n", "the column 'Zeit' more than once"),
    ],
    ids=["latin-1", "NUL", "quote", "ragged", "UTF-16", "twice"],
)
def test_an_error_in_a_file_or_row_does_not_affect_other_files_and_rows(
    installation: Installation, outbox: Path, content: bytes, message: str
) -> None:
    (outbox / "left_folder.csv").mkdir()
    deliver(outbox, "left_1.csv", HEADER + row("person3"), 3 * HOUR)
    deliver(outbox, "left_2.csv", content, 2 * HOUR)
    deliver(outbox, "left_3.csv", HEADER.upper() + "\ufeff" + HEADER + row("person2"))
    result = import_feedback(installation)

    assert result.success
    assert message in layout_result(result)
    withdrawn = {who for who, _ in withdrawals(installation)}
    assert {"c2", "c3"} <= withdrawn
    assert ("c1" in withdrawn) == (b"\nperson1@example.org" in content)


def test_a_file_that_is_too_large_does_not_keep_others_from_being_imported(
    installation: Installation, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_source, "MAX_BYTES", 1_000)
    deliver(outbox, "left_1.csv", HEADER + row("person1") * 40, 3 * HOUR)
    deliver(outbox, "left_2.csv", HEADER + row("person2"), -timedelta(days=400))
    result = import_feedback(installation)

    assert {who for who, _ in withdrawals(installation)} == {"c2"}, "also one whose time lies in the future"
    readable = [check for check in result.get_asset_check_evaluations() if check.check_name == "readable"]
    assert "left_1.csv is larger than 1000 bytes" in " ".join(str(check.description) for check in readable)


def test_files_without_new_rows_are_no_fresh_feedback(installation: Installation, outbox: Path) -> None:
    old = HEADER + row("person1", NOW - timedelta(days=3))
    deliver(outbox, "left_1.csv", old, timedelta(days=3))
    deliver(outbox, "left_e.csv", "", timedelta(days=3))
    first = import_feedback(installation)
    assert "feedback up to 3.0 days ago" in str(check(first, "feedback_age").description)

    deliver(outbox, "left_1.csv", old)  # touched
    deliver(outbox, "left_copy.csv", old)
    deliver(outbox, "left_e.csv", "")
    deliver(outbox, "left_older.csv", HEADER + row("person2", NOW - timedelta(days=5)))
    deliver(outbox, "left_bad.csv", row("person3"))
    age = check(import_feedback(installation), "feedback_age")

    assert not age.passed
    assert "Delivered files count by what is new in them" in str(age.description)
    assert ("c2", "newsletter-nord") in withdrawals(installation), "a new row counts even if it is older"

    deliver(outbox, "left_empty_today.csv", HEADER)
    assert check(import_feedback(installation), "feedback_age").passed


def test_a_touched_file_of_a_reader_without_times_counts_once_whatever_the_key(
    installation: Installation, outbox: Path
) -> None:
    readers = installation.settings["mandators"]["nord"]["feedback"]["readers"]
    readers["getOutBounces"]["time"] = None
    installation.settings["erasure"] = {"key": {"env": "ERASURE_KEY"}}

    def imports() -> int:
        assert import_feedback(installation).success
        with installation.state() as state:
            return len(state.feedback_imports.with_rows("nord", "getOutBounces"))

    for number, key in enumerate(("a", "b")):
        installation.environment["ERASURE_KEY"] = key * 32  # no one was erased, so another one may be configured
        deliver(outbox, "bounces_1.csv", row("person1"), (5 - number) * HOUR)
        assert imports() == 1
    installation.environment["ERASURE_KEY"] = "c" * 32
    deliver(outbox, "bounces_1.csv", row("person1") + row("person2"), HOUR)
    assert imports() == 2, "another content counts"


def test_delivered_files_without_rows_are_watched_like_readers(installation: Installation, outbox: Path) -> None:
    deliver(outbox, "left_1.csv", HEADER + row("person1", NOW - timedelta(days=9)), timedelta(days=9))
    for day in range(4):
        deliver(outbox, f"left_empty_{day}.csv", HEADER, day * timedelta(days=1) + HOUR)
    installation.vendor.publish(NORD, "getMailings", [["777001", epoch_ms(NOW - HOUR)]])

    silence = check(import_feedback(installation), "silence")

    assert (silence.passed, silence.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "no delivered file has had a new event for 9.0 days, though mailings went out" in str(silence.description)
