"""A vendor that reports success for what it hasn't done: each replacement ends unproven, and says why."""

import re

import pytest

from campaign_sync.replacement.errors import IncompleteListError, ReplacementRefusedError
from campaign_sync.storage.replacements import ReplacementState
from campaign_sync_tests.faults.proxied_installation import BEFORE, ProxiedInstallation
from campaign_sync_tests.faults.proxy import NetworkFault
from campaign_sync_tests.installation import NEWSLETTER, NORD

_CODE = re.compile(rb"(<multiRef[^>]*>)0(</multiRef>)")
_ITEM = re.compile(rb"<addAll3Return href=[^>]*/>")


def unproven(installation: ProxiedInstallation, tries: int = 1) -> str:
    """Replace the list `tries` times, which must fail each time, and return the last error's message."""
    message = ""
    with installation.run(parallel_calls=1) as run:
        for _ in range(tries):
            with pytest.raises((IncompleteListError, ReplacementRefusedError)) as raised:
                run.replace()
            message = str(raised.value)
        incomplete = run.resources.state.replacements.incomplete("nord", "newsletter")
        assert run.resources.state.replacements.last_proven("nord", "newsletter") is None
    assert incomplete is not None
    assert incomplete.state is ReplacementState.FAILED
    assert "INCOMPLETE since" in message
    return message


def delete_recipients(installation: ProxiedInstallation, pattern: str = "%") -> None:
    """Delete recipients of the list at the vendor, by a pattern of their ids."""
    with installation.vendor.transaction() as database:
        database.execute("DELETE FROM recipient WHERE list_id = ? AND key LIKE ?", [NEWSLETTER, pattern])


def test_a_clear_that_does_nothing_is_noticed_before_any_recipient_is_sent(installation: ProxiedInstallation) -> None:
    installation.proxy.inject("clear", NetworkFault.FALSE_SUCCESS, times=99)

    message = unproven(installation)

    assert f"clear has changed nothing: the vendor took 4 calls, and the list still holds {len(BEFORE)}" in message
    assert installation.proxy.seen["addAll3"] == 0
    assert len(installation.vendor.recipients(NEWSLETTER)) == len(BEFORE)


def test_a_clear_that_does_nothing_once_is_repeated(installation: ProxiedInstallation) -> None:
    installation.proxy.inject("clear", NetworkFault.FALSE_SUCCESS)

    with installation.run() as run:
        run.replace()

    assert len(installation.vendor.recipients(NEWSLETTER)) == 5


def test_a_list_that_is_never_cleared_is_never_proven(
    installation: ProxiedInstallation,
) -> None:
    installation.proxy.inject("clear", NetworkFault.FALSE_SUCCESS, times=99)

    assert "clear has changed nothing" in unproven(installation, tries=3)


def test_an_answer_without_a_code_for_one_row_proves_nothing(installation: ProxiedInstallation) -> None:
    installation.proxy.rewrite("addAll3", lambda answer: _ITEM.sub(b"", answer, count=1).replace(b"[5]", b"[4]"))

    assert "addAll3 gave 4 answers for 5 rows" in unproven(installation)


def test_an_answer_with_more_codes_than_rows_proves_nothing(installation: ProxiedInstallation) -> None:
    installation.proxy.rewrite(
        "addAll3", lambda answer: _ITEM.sub(rb"\g<0>\g<0>", answer, count=1).replace(b"[5]", b"[6]")
    )

    assert "addAll3 gave 6 answers for 5 rows" in unproven(installation)


@pytest.mark.parametrize("code", [8, 99, -1])
def test_an_undocumented_code_proves_nothing_however_often_it_is_tried(
    installation: ProxiedInstallation, code: int
) -> None:
    replacement = rb"\g<1>" + str(code).encode() + rb"\g<2>"
    installation.proxy.rewrite("addAll3", lambda answer: _CODE.sub(replacement, answer))

    message = unproven(installation, tries=3)

    assert f"addAll3 answered codes that aren't documented (code {code}: 5)" in message
    assert installation.vendor.recipients(NEWSLETTER) == [], (
        "an answer that can't be understood mustn't lead to a mailing"
    )


def test_rows_of_an_undocumented_code_prove_nothing_if_they_were_not_stored(
    installation: ProxiedInstallation,
) -> None:
    installation.proxy.rewrite("addAll3", lambda answer: _CODE.sub(rb"\g<1>8\g<2>", answer, count=1))

    installation.proxy.before("removeAll", lambda: delete_recipients(installation))
    assert "codes that aren't documented (code 8: 1)" in unproven(installation)


def test_rows_that_vanish_before_they_are_read_back_are_reported_missing(installation: ProxiedInstallation) -> None:
    installation.proxy.before("removeBlacklisted", lambda: delete_recipients(installation, "person2@%"))

    assert "it has 4 recipients where 5 should be (4 equal, missing 1)" in unproven(installation)


def test_sweeping_one_recipient_does_not_explain_that_four_others_vanished(
    installation: ProxiedInstallation,
) -> None:
    """Missing recipients count as swept only as far as the vendor reports that many swept."""
    installation.vendor.bounce(NORD, "person1@example.org")

    installation.proxy.before("removeBlacklisted", lambda: delete_recipients(installation))

    assert "it has 0 recipients where 4 should be (0 equal, missing 4)" in unproven(installation)
