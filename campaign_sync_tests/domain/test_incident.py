"""Incidents that are new, worse or resolved."""

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
    return Incident("nord", subject, kind, NOON + timedelta(minutes=minutes), "It failed.", "Repair it.", "/runs")


INCIDENTS = st.builds(
    incident, st.sampled_from([NEWSLETTER, PRODUCTS, FEEDBACK]), st.sampled_from(IncidentKind), st.integers(0, 9)
)
CHECKS = st.lists(st.tuples(st.lists(INCIDENTS, max_size=4), st.sets(st.sampled_from([NEWSLETTER, FEEDBACK]))))


@given(CHECKS)
def test_an_incident_is_new_once_until_it_is_worse_or_resolved(
    checks: list[tuple[list[Incident], set[Subject]]],
) -> None:
    known: dict[Subject, Incident] = {}
    for current, in_progress in checks:
        changed = compare_incidents(known, current, in_progress)
        new = {incident.subject for incident in changed.new}
        worse, resolved = {incident.subject for incident in changed.worse}, set(changed.resolved)
        assert new & known.keys() <= resolved
        assert worse <= known.keys()
        assert all(incident.kind.severity > known[incident.subject].kind.severity for incident in changed.worse)
        remaining = most_severe_by_subject(current)
        assert all(remaining[subject].impact < known[subject].impact for subject in resolved & remaining.keys())
        assert not resolved & in_progress
        for subject in resolved:
            del known[subject]
        known |= {incident.subject: incident for incident in (*changed.new, *changed.worse)}
        assert {incident.subject for incident in current} <= known.keys()
        again = compare_incidents(known, current, in_progress)
        assert not again.new
        assert not again.worse
        assert not again.resolved


@given(st.lists(INCIDENTS))
def test_the_most_severe_incident_of_a_subject_represents_it(incidents: list[Incident]) -> None:
    most_severe = most_severe_by_subject(incidents)
    assert most_severe.keys() == {incident.subject for incident in incidents}
    assert all(most_severe[incident.subject].kind.severity >= incident.kind.severity for incident in incidents)


def test_an_incomplete_list_outweighs_its_other_incidents() -> None:
    incidents = [incident(kind=kind) for kind in IncidentKind if kind is not IncidentKind.UNREPAIRED]
    assert most_severe_by_subject(incidents)[NEWSLETTER].kind is IncidentKind.INCOMPLETE


def test_a_remaining_incident_is_new_if_its_impact_is_lower() -> None:
    old, check = incident(FEEDBACK, IncidentKind.FEEDBACK_OLD), incident(FEEDBACK, IncidentKind.CHECK)
    assert compare_incidents({FEEDBACK: old}, [check], []) == IncidentChanges((check,), (), (FEEDBACK,))
    assert compare_incidents({FEEDBACK: old}, [check], [FEEDBACK]) == IncidentChanges((), (), ()), "a run is active"

    stays, incomplete = incident(kind=IncidentKind.UNREPAIRED), incident(kind=IncidentKind.INCOMPLETE)
    failed, stopped = incident(kind=IncidentKind.FAILED), incident(kind=IncidentKind.CHECK)
    assert compare_incidents({NEWSLETTER: stays}, [incomplete], []) == IncidentChanges((), (), ()), (
        "it still isn't full"
    )
    assert compare_incidents({NEWSLETTER: failed}, [stopped], []) == IncidentChanges((), (), ()), (
        "it still wasn't replaced"
    )
    assert compare_incidents({NEWSLETTER: stays}, [failed], []) == IncidentChanges((failed,), (), (NEWSLETTER,))


def test_headlines_name_subject_and_incident() -> None:
    broken = incident(kind=IncidentKind.INCOMPLETE)
    assert headline(Notice(NoticeKind.ALARM, broken)) == "Alarm: nord/newsletter is INCOMPLETE"
    assert headline(Notice(NoticeKind.ALL_CLEAR, broken)) == "All clear: nord/newsletter"
    old = incident(FEEDBACK, IncidentKind.FEEDBACK_OLD)
    assert headline(Notice(NoticeKind.ALARM, old)) == "Alarm: the feedback of nord has grown old, no list is replaced"
    assert incident_location(old) == "the feedback of nord"
