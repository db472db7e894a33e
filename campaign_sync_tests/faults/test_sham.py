"""A vendor that says it has done what it hasn't: each replace ends unproven, and says why."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tenacity import wait_none

from campaign_sync.optimizely import session
from campaign_sync.replacement import list_writer
from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError
from campaign_sync.sandbox.server import serve
from campaign_sync.sandbox.vendor_state import VendorState
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.faults.proxy import Trouble, proxied
from campaign_sync_tests.faults.test_proxy import BEFORE, ProxiedInstallation
from campaign_sync_tests.faults.test_proxy import template as template
from campaign_sync_tests.installation import NEWSLETTER, NORD

_CODE = re.compile(rb"(<multiRef[^>]*>)0(</multiRef>)")
_ITEM = re.compile(rb"<addAll3Return href=[^>]*/>")


@pytest.fixture
def installation(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxiedInstallation]:
    """An installation whose list holds what it held yesterday, and whose vendor is behind a proxy."""
    for module, name in (
        (session, "wait_exponential"),
        (session, "wait_random"),
        (list_writer, "wait_random_exponential"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: wait_none())
    folder = tmp_path / "copy"
    shutil.copytree(template, folder)
    vendor = VendorState(folder / "vendor.db")
    with serve(vendor) as base_url, proxied(base_url) as proxy:
        yield ProxiedInstallation(folder, vendor, proxy)
    vendor.close()


def unproven(installation: ProxiedInstallation, tries: int = 1) -> str:
    """Replace the list so often, in vain; what the last one said of it."""
    told = ""
    with installation.run(parallel_calls=1) as run:
        for _ in range(tries):
            with pytest.raises((IncompleteListError, ReplacementRefusedError)) as raised:
                run.replace()
            told = str(raised.value)
        broken = run.ports.state.replacements.incomplete("nord", "newsletter")
        assert run.ports.state.replacements.last_proven("nord", "newsletter") is None
    assert broken is not None
    assert broken.state is ReplacementState.FAILED
    assert "INCOMPLETE since" in told
    return told


def test_a_clear_that_does_nothing_is_noticed_before_anybody_is_sent(installation: ProxiedInstallation) -> None:
    installation.proxy.spoil("clear", Trouble.SHAM, times=99)

    told = unproven(installation)

    assert f"clear has changed nothing: the vendor took 4 calls, and the list still holds {len(BEFORE)}" in told
    assert installation.proxy.seen["addAll3"] == 0
    assert len(installation.vendor.recipients(NEWSLETTER)) == len(BEFORE)


def test_a_clear_that_does_nothing_once_is_made_again(installation: ProxiedInstallation) -> None:
    installation.proxy.spoil("clear", Trouble.SHAM)

    with installation.run() as run:
        run.replace()

    assert len(installation.vendor.recipients(NEWSLETTER)) == 5


def test_a_list_that_is_never_cleared_is_never_taken_for_one_that_was_filled_from_nothing(
    installation: ProxiedInstallation,
) -> None:
    installation.proxy.spoil("clear", Trouble.SHAM, times=99)

    assert "clear has changed nothing" in unproven(installation, tries=3)


def test_an_answer_that_says_nothing_of_one_row_proves_nothing(installation: ProxiedInstallation) -> None:
    installation.proxy.rewrite("addAll3", lambda answer: _ITEM.sub(b"", answer, count=1).replace(b"[5]", b"[4]"))

    assert "addAll3 gave 4 answers for 5 rows" in unproven(installation)


def test_an_answer_of_more_codes_than_rows_proves_nothing(installation: ProxiedInstallation) -> None:
    installation.proxy.rewrite(
        "addAll3", lambda answer: _ITEM.sub(rb"\g<0>\g<0>", answer, count=1).replace(b"[5]", b"[6]")
    )

    assert "addAll3 gave 6 answers for 5 rows" in unproven(installation)


@pytest.mark.parametrize("code", [8, 99, -1])
def test_a_code_that_nobody_has_documented_proves_nothing_however_often_it_is_tried(
    installation: ProxiedInstallation, code: int
) -> None:
    replacement = rb"\g<1>" + str(code).encode() + rb"\g<2>"
    installation.proxy.rewrite("addAll3", lambda answer: _CODE.sub(replacement, answer))

    told = unproven(installation, tries=3)

    assert f"addAll3 answered codes that aren't documented (code {code}: 5)" in told
    assert installation.vendor.recipients(NEWSLETTER) == [], "nobody may be mailed on an answer that nobody understands"


def test_rows_of_a_code_that_nobody_has_documented_prove_nothing_where_they_were_not_stored(
    installation: ProxiedInstallation,
) -> None:
    installation.proxy.rewrite("addAll3", lambda answer: _CODE.sub(rb"\g<1>8\g<2>", answer, count=1))

    def vanish() -> None:
        with installation.vendor.transaction() as database:
            database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])

    installation.proxy.before("removeAll", vanish)
    assert "codes that aren't documented (code 8: 1)" in unproven(installation)


def test_rows_that_vanish_before_they_are_read_back_are_missed(installation: ProxiedInstallation) -> None:
    def vanish() -> None:
        with installation.vendor.transaction() as database:
            database.execute("DELETE FROM recipient WHERE list_id = ? AND key LIKE 'person2@%'", [NEWSLETTER])

    installation.proxy.before("removeBlacklisted", vanish)

    assert "it has 4 recipients where 5 should be (4 equal, missing 1)" in unproven(installation)


def test_a_vendor_that_says_it_swept_somebody_else_does_not_explain_a_row_that_vanished(
    installation: ProxiedInstallation,
) -> None:
    """As many are missing as the vendor swept, so they are the swept: but not where more are missing than that."""
    installation.vendor.bounce(NORD, "person1@example.org")

    def vanish() -> None:
        with installation.vendor.transaction() as database:
            database.execute("DELETE FROM recipient WHERE list_id = ?", [NEWSLETTER])

    installation.proxy.before("removeBlacklisted", vanish)

    assert "it has 0 recipients where 4 should be (0 equal, missing 4)" in unproven(installation)
