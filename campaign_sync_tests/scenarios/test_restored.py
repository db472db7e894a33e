"""An installation of which only a part was restored from a backup."""

import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from campaign_sync.cli.run import problems
from campaign_sync.orchestration.retry_policy import NO_RETRIES
from campaign_sync.storage.recipient_lists import SizeAcceptance
from campaign_sync_tests.installation import ADDRESSES, LONG_AGO, NEWSLETTER, Installation

LEFT = "person3@example.org"
STAYED = [address for address in ADDRESSES if address != LEFT]


def _backup(installation: Installation, name: str) -> Path:
    with installation.state():
        pass  # SQLite's last connection moves everything into the file
    return Path(shutil.copy(installation.folder / name, installation.folder / f"{name}.backup"))


def _restore(installation: Installation, name: str) -> None:
    for leftover in installation.folder.glob(f"{name}-*"):
        leftover.unlink()
    shutil.copy(installation.folder / f"{name}.backup", installation.folder / name)


def _may_shrink(installation: Installation) -> None:
    for name in ("newsletter", "products"):
        installation.list_settings(name=name)["limits"] = {"max_shrink": 0.5}


@pytest.mark.two_lists
def test_after_an_older_state_database_the_feedback_of_the_days_between_is_imported_again(
    installation: Installation,
) -> None:
    _may_shrink(installation)
    installation.day()
    _backup(installation, "state.db")
    installation.leave(LEFT)
    installation.day()
    assert installation.addresses(NEWSLETTER) == STAYED
    _restore(installation, "state.db")

    installation.day()

    assert installation.addresses(NEWSLETTER) == STAYED


@pytest.mark.two_lists
def test_without_the_stored_files_lists_are_replaced_and_unsubscribes_still_count(installation: Installation) -> None:
    _may_shrink(installation)
    installation.day()
    shutil.rmtree(installation.folder / "frames")
    installation.leave(LEFT)

    installation.day()

    assert installation.addresses(NEWSLETTER) == STAYED


@pytest.mark.two_lists
def test_after_an_older_crm_the_audit_restores_withdrawals_before_a_list_is_filled(
    installation: Installation,
) -> None:
    _may_shrink(installation)
    installation.day()
    _backup(installation, "crm.db")
    installation.leave(LEFT)
    installation.day()
    _restore(installation, "crm.db")

    audit = installation.definitions.resolve_job_def("nord_audit").execute_in_process(raise_on_error=False)
    assert not audit.success or any(not check.passed for check in audit.get_asset_check_evaluations())
    installation.day()

    assert installation.addresses(NEWSLETTER) == STAYED


LIST = [("nord", f"newsletter_{asset}") for asset in ("selection", "snapshot", "recipient_list")]


def _delete(installation: Installation, name: str) -> None:
    for file in installation.folder.glob(f"{name}*"):
        file.unlink()


@pytest.fixture
def _one_recipient_a_batch(installation: Installation) -> None:
    installation.settings["optimizely"] |= {"batch_size": 1, "parallel_calls": 1}
    installation.retry_policy = NO_RETRIES


def _leave_half_full(installation: Installation) -> list[str]:
    """Let a replacement fail after three of five recipients, and return the list's addresses."""
    installation.vendor.fault("addAll3", "fault", times=99, skip=3, arg="WebserviceImplException: unheard of")
    assert not installation.run("nord").success
    installation.vendor.repair()
    return installation.addresses(NEWSLETTER)


@pytest.mark.usefixtures("_one_recipient_a_batch")
def test_a_half_full_list_without_its_state_database_is_detected_and_filled_after_an_acceptance(
    installation: Installation,
) -> None:
    half = _leave_half_full(installation)
    assert 0 < len(half) < len(ADDRESSES)
    _delete(installation, "state.db")

    message = " ".join(problems(installation.run("nord")))

    reason = f"{len(half)} of the {len(half)} recipients that the list holds are among these 5, so it looks half full"
    assert reason in message
    assert "`campaign-sync run nord --list newsletter --accept-size REASON`" in message
    assert installation.addresses(NEWSLETTER) == half, "nothing is sent on a guess"
    run_id = str(uuid4())
    with installation.state() as state:
        partial_fill = state.view().of_list("nord", "newsletter").partial_fill
        assert partial_fill is not None
        assert (partial_fill.held, partial_fill.expected) == (len(half), 5)
        state.recipient_lists.accept_size(
            SizeAcceptance(run_id, "nord", "newsletter", "anna", "it was half full", LONG_AGO)
        )
    assert installation.run("nord", assets=LIST, run_id=run_id).success
    assert installation.addresses(NEWSLETTER) == ADDRESSES
    with installation.state() as state:
        assert state.view().of_list("nord", "newsletter").partial_fill is None


@pytest.mark.usefixtures("_one_recipient_a_batch")
def test_the_preflight_alone_detects_a_half_full_list_as_well(installation: Installation) -> None:
    half = _leave_half_full(installation)
    _delete(installation, "state.db")
    installation.run("nord")

    message = " ".join(problems(installation.run("nord", assets=[("nord", "newsletter_recipient_list")])))

    assert "was not touched. plausible_size: " in message
    assert "so it looks half full" in message
    assert installation.addresses(NEWSLETTER) == half


@pytest.mark.usefixtures("_one_recipient_a_batch")
def test_a_half_full_list_is_filled_by_the_next_run_after_an_older_state_database(installation: Installation) -> None:
    installation.first_day()
    _backup(installation, "state.db")
    assert len(_leave_half_full(installation)) < len(ADDRESSES)
    _restore(installation, "state.db")

    installation.day()

    assert installation.addresses(NEWSLETTER) == ADDRESSES


def test_a_list_without_technical_fields_that_would_grow_is_not_reported_as_half_full(
    installation: Installation,
) -> None:
    installation.fill_by_hand(
        NEWSLETTER, ADDRESSES[:2]
    )  # without the technical fields, so that they can't be recognized

    message = " ".join(problems(installation.run("nord")))

    assert "the list grows by 150% from 2 (in the list now) to 5" in message
    assert "half full" not in message
    with installation.state() as state:
        assert state.view().of_list("nord", "newsletter").partial_fill is None
