"""Troubles: what is new, what is worse, what is over."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.incident import (
    FEEDBACK,
    Incident,
    IncidentChanges,
    IncidentKind,
    Notice,
    NoticeKind,
    Subject,
    compare_incidents,
    headline,
    incident_location,
    most_severe_by_subject,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


NEWSLETTER, PRODUCTS = Subject.of_list("newsletter"), Subject.of_list("products")


def incident(subject: Subject = NEWSLETTER, kind: IncidentKind = IncidentKind.FAILED, minutes: int = 0) -> Incident:
    return Incident("nord", subject, kind, NOON + timedelta(minutes=minutes), "It failed.", "Mend it.", "/runs")


TROUBLES = st.builds(
    incident, st.sampled_from([NEWSLETTER, PRODUCTS, FEEDBACK]), st.sampled_from(IncidentKind), st.integers(0, 9)
)
LOOKS = st.lists(st.tuples(st.lists(TROUBLES, max_size=4), st.sets(st.sampled_from([NEWSLETTER, FEEDBACK]))))


@given(LOOKS)
def test_a_subject_is_told_of_once_until_it_is_worse_or_over(looks: list[tuple[list[Incident], set[Subject]]]) -> None:
    known: dict[Subject, Incident] = {}
    for found, in_progress in looks:
        changed = compare_incidents(known, found, in_progress)
        new, worse, over = (
            {one.subject for one in changed.new},
            {one.subject for one in changed.worse},
            changed.resolved,
        )
        assert new & known.keys() <= set(over), "what is told anew was over"
        assert worse <= known.keys()
        assert all(one.kind.severity > known[one.subject].kind.severity for one in changed.worse)
        left = most_severe_by_subject(found)
        assert all(left[one].impact < known[one].impact for one in set(over) & left.keys())
        assert not set(over) & in_progress
        for subject in over:
            del known[subject]
        known |= {one.subject: one for one in (*changed.new, *changed.worse)}
        assert {one.subject for one in found} <= known.keys(), "whatever is wrong is known of"
        again = compare_incidents(known, found, in_progress)
        assert not again.new
        assert not again.worse
        assert not again.resolved


@given(st.lists(TROUBLES))
def test_the_gravest_trouble_of_a_subject_speaks_for_it(found: list[Incident]) -> None:
    most_severe = most_severe_by_subject(found)
    assert most_severe.keys() == {one.subject for one in found}
    assert all(most_severe[one.subject].kind.severity >= one.kind.severity for one in found)


def test_an_incomplete_list_outweighs_whatever_else_is_wrong_with_it() -> None:
    found = [incident(kind=kind) for kind in IncidentKind if kind is not IncidentKind.UNREPAIRED]
    assert most_severe_by_subject(found)[NEWSLETTER].kind is IncidentKind.INCOMPLETE


def test_what_remains_when_the_gravest_is_over_is_told_if_it_means_something_else() -> None:
    old, check = incident(FEEDBACK, IncidentKind.FEEDBACK_OLD), incident(FEEDBACK, IncidentKind.CHECK)
    assert compare_incidents({FEEDBACK: old}, [check], []) == IncidentChanges((check,), (), (FEEDBACK,))
    assert compare_incidents({FEEDBACK: old}, [check], [FEEDBACK]) == IncidentChanges((), (), ()), "somebody is at it"

    stays, incomplete = incident(kind=IncidentKind.UNREPAIRED), incident(kind=IncidentKind.INCOMPLETE)
    failed, stopped = incident(kind=IncidentKind.FAILED), incident(kind=IncidentKind.CHECK)
    assert compare_incidents({NEWSLETTER: stays}, [incomplete], []) == IncidentChanges((), (), ()), (
        "it isn't full by that"
    )
    assert compare_incidents({NEWSLETTER: failed}, [stopped], []) == IncidentChanges((), (), ()), (
        "it wasn't replaced by that"
    )
    assert compare_incidents({NEWSLETTER: stays}, [failed], []) == IncidentChanges((failed,), (), (NEWSLETTER,))


def test_headlines_say_where_and_what() -> None:
    broken = incident(kind=IncidentKind.INCOMPLETE)
    assert headline(Notice(NoticeKind.ALARM, broken)) == "Alarm: nord/newsletter is INCOMPLETE"
    assert headline(Notice(NoticeKind.ALL_CLEAR, broken)) == "All clear: nord/newsletter"
    old = incident(FEEDBACK, IncidentKind.FEEDBACK_OLD)
    assert headline(Notice(NoticeKind.ALARM, old)) == "Alarm: the feedback of nord has grown old, no list is replaced"
    assert incident_location(old) == "the feedback of nord"
