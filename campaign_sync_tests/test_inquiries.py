"""`campaign-sync inquiries WHO`: the same person has all inquiries, however they were written."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from campaign_sync.cli.inquiries import record_inquiry
from campaign_sync.inquiry.person_query import PersonQuery
from campaign_sync.storage.state import State


@pytest.mark.parametrize(
    "spellings",
    [
        ("anna@example.org", " Anna@EXAMPLE.org\n"),
        ("zoë@bücher.example", "ZOE\u0308@BÜCHER.example", "zoë@xn--bcher-kva.example", "zo\u200bë@bücher.example"),
        ("\u0130nci@example.org", "i\u0307nci@example.org"),  # not an address, but earlier versions sent to it
        ("Anna@-example", "anna@-EXAMPLE"),
        ("contact:xQ7", "Contact: xQ7 ", " CONTACT :xQ7"),
    ],
)
def test_every_spelling_finds_the_questions_of_every_other(spellings: Sequence[str], tmp_path: Path) -> None:
    with State(f"sqlite:///{tmp_path / 'state.db'}") as state:
        for command, spelling in enumerate(spellings):
            record_inquiry(state, str(command), PersonQuery.parse(spelling))
        record_inquiry(state, "other", PersonQuery.parse("bo@example.org"))
        for spelling in spellings:
            entries = state.inquiries.about([PersonQuery.parse(spelling).subject])
            assert {entry.command for entry in entries} == {str(command) for command in range(len(spellings))}
