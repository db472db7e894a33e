"""The tests of reads that can't be completed: they are refused, in one sentence without personal data."""

import traceback
from contextlib import AbstractContextManager

import pytest

from campaign_sync.crm.port import CrmError
from campaign_sync.crm.testing.reads import read_everything
from campaign_sync.crm.testing.snapshot_tests import contact
from campaign_sync.crm.testing.under_test import EVERYBODY, NEWS, Capability, Consent, CrmUnderTest

_SURNAME = "Geheimrath"
"""A name that must be in no message."""

_LONGEST = 500


def _set_up(under_test: CrmUnderTest) -> None:
    people = [
        contact(f"c{number:06}", f"{_SURNAME}.{number}@example.org", _SURNAME, _SURNAME)
        for number in range(under_test.largest_chunk + 3)
    ]
    under_test.set_up(people, *(Consent(person, kind="withdrawn") for person in people))


def _refused(under_test: CrmUnderTest, fault: AbstractContextManager[object]) -> None:
    with fault, pytest.raises(CrmError) as caught, under_test.open().snapshot() as snapshot:
        for _ in read_everything(snapshot, under_test.largest_chunk // 2):
            pass
    _require_decent(caught.value)


def _require_decent(error: CrmError) -> None:
    """Check that an error is one short paragraph, and that neither it nor what caused it quotes anybody."""
    message = str(error)
    assert 0 < len(message) <= _LONGEST
    assert "\n" not in message
    whole = "".join(traceback.format_exception(error))
    links: list[BaseException | None] = [error]
    while links[-1] is not None:
        links.append(links[-1].__cause__ or links[-1].__context__)
    quoted = " ".join(f"{link} {link!r}" for link in links if link is not None)
    assert _SURNAME.lower() not in f"{whole} {quoted}".lower()


class ErrorTests:
    """Rows that get lost, connections that fail."""

    def test_a_read_that_lost_rows_is_refused(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.LOSES_ROWS)
        _set_up(under_test)
        _refused(under_test, under_test.losing_rows())
        with under_test.open().snapshot() as snapshot:
            frames = list(snapshot.select(EVERYBODY, NEWS, []))
        assert sum(map(len, frames)) == under_test.largest_chunk + 3

    def test_a_crm_that_cannot_be_reached_is_an_error(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.UNREACHABLE)
        _set_up(under_test)
        _refused(under_test, under_test.unreachable())

    def test_a_connection_that_is_cut_in_the_middle_is_an_error(self, under_test: CrmUnderTest) -> None:
        under_test.require(Capability.CUT)
        _set_up(under_test)
        _refused(under_test, under_test.cut())
