"""What is wrong with a mandator's lists and feedback, and who has to be told what of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


@dataclass(frozen=True)
class Subject:
    """What an incident is about: a recipient list, or another part of a mandator such as its feedback."""

    name: str
    """The list's key in the configuration, or words for the part, like `the feedback`."""
    is_list: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError if `parse` wouldn't return the same subject."""
        if self.is_list is (" " in self.name):
            raise ValueError("the name of a list has no blank, and that of every other subject has")

    @classmethod
    def of_list(cls, name: str) -> Self:
        """Return the subject of a recipient list."""
        return cls(name, is_list=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the subject whose text form is `text`."""
        return cls(text, is_list=" " not in text)

    def __str__(self) -> str:
        """Return the form in which subjects are stored and sent."""
        return self.name


FEEDBACK = Subject("the feedback")
"""A mandator's feedback."""

RUN = Subject("a run")
"""A run that ended without any of its steps saying why."""


class IncidentKind(StrEnum):
    """What can be wrong with a subject, the most severe last."""

    CHECK = "check"
    """What was done passed, and a check of it failed."""
    LATE = "late"
    """The list wasn't replaced in time."""
    FAILED = "failed"
    """A step failed before anything was changed."""
    DIED = "died"
    """A run ended without a word."""
    FEEDBACK_OLD = "feedback_old"
    """The feedback is too old for replacing lists."""
    FEEDBACK_LOST = "feedback_lost"
    """The feedback is so old that the vendor will soon have forgotten some that nobody imported."""
    DRIFTED = "drifted"
    """The list isn't any more what its proof found in it."""
    SUSPECTED_PARTIAL_FILL = "doubtful"
    """The list looks half full, and no record tells whether it is."""
    INCOMPLETE = "incomplete"
    """The list was cleared and isn't full again, and nobody is at it."""
    UNREPAIRED = "unrepaired"
    """The same, and nothing is tried by itself any more."""

    @property
    def severity(self) -> int:
        """Rises with what is at stake."""
        return list(IncidentKind).index(self)


_IMPACTS = {
    IncidentKind.CHECK: 0,
    IncidentKind.LATE: 1,
    IncidentKind.FAILED: 1,
    IncidentKind.DIED: 1,
    IncidentKind.FEEDBACK_OLD: 2,
    IncidentKind.FEEDBACK_LOST: 2,
    IncidentKind.DRIFTED: 3,
    IncidentKind.SUSPECTED_PARTIAL_FILL: 3,
    IncidentKind.INCOMPLETE: 3,
    IncidentKind.UNREPAIRED: 3,
}
"""Kinds of the same number mean the same for the next mail, so that one of them isn't over where another remains."""


@dataclass(frozen=True)
class Incident:
    """Something that somebody has to know, in two sentences. Never a person in them."""

    mandator: str
    subject: Subject
    kind: IncidentKind
    since: datetime
    what: str
    """What is wrong, since when."""
    remedy: str
    """What it means for the next mail, and the command or page that helps."""
    page: str
    """Path of the page in Dagster's UI that shows it."""

    @property
    def impact(self) -> int:
        """What it means for the next mail, as a number that rises. A list that a check has stopped wasn't replaced."""
        stopped = self.kind is IncidentKind.CHECK and self.subject.is_list
        return _IMPACTS[IncidentKind.FAILED if stopped else self.kind]


@dataclass(frozen=True)
class IncidentChanges:
    """What has changed since the incidents of a mandator were looked at last."""

    new: tuple[Incident, ...]
    worse: tuple[Incident, ...]
    resolved: tuple[Subject, ...]


def compare_incidents(
    known: Mapping[Subject, Incident], found: Iterable[Incident], in_progress: Collection[Subject]
) -> IncidentChanges:
    """What is new, worse or over. Of a subject only the most severe incident counts: lesser ones beside it aren't told.

    When the most severe is over and a lesser one remains that means something else, the one is over and the other new.

    Args:
        known: the open incidents by subject.
        found: what is wrong now.
        in_progress: subjects that somebody is working at: whether their incident is over shows when they are done.
    """
    most_severe = most_severe_by_subject(found)
    resolved = tuple(
        subject
        for subject, one in known.items()
        if subject not in in_progress and (subject not in most_severe or most_severe[subject].impact < one.impact)
    )
    return IncidentChanges(
        new=tuple(one for subject, one in most_severe.items() if subject not in known or subject in resolved),
        worse=tuple(
            one
            for subject, one in most_severe.items()
            if subject in known and one.kind.severity > known[subject].kind.severity
        ),
        resolved=resolved,
    )


def most_severe_by_subject(found: Iterable[Incident]) -> dict[Subject, Incident]:
    """Of each subject the most severe incident; of equals the one that is older."""
    most_severe: dict[Subject, Incident] = {}
    for one in sorted(found, key=lambda incident: (-incident.kind.severity, incident.since)):
        most_severe.setdefault(one.subject, one)
    return most_severe


class NoticeKind(StrEnum):
    """What a notice is about."""

    ALARM = "alarm"
    WORSE = "worse"
    ALL_CLEAR = "all clear"
    UNWATCHED = "unwatched"
    """The list was taken out of the configuration while something was wrong with it."""
    TEST = "test"


@dataclass(frozen=True)
class Notice:
    """What one channel has to tell of a incident now."""

    kind: NoticeKind
    incident: Incident
    until: datetime | None = None
    """When it was over."""
    id: str = ""
    """Of the incident, where it is written down."""


def incident_location(incident: Incident) -> str:
    """Where the incident is: `nord/newsletter`, `the feedback of nord`."""
    if incident.subject.is_list:
        return f"{incident.mandator}/{incident.subject}"
    return f"{incident.subject} of {incident.mandator}"


_HEADLINES = {
    IncidentKind.CHECK: "a check failed",
    IncidentKind.LATE: "is late",
    IncidentKind.FAILED: "failed",
    IncidentKind.DIED: "died",
    IncidentKind.FEEDBACK_OLD: "has grown old, no list is replaced",
    IncidentKind.FEEDBACK_LOST: "will soon be lost",
    IncidentKind.DRIFTED: "was changed after its proof",
    IncidentKind.SUSPECTED_PARTIAL_FILL: "looks half full",
    IncidentKind.INCOMPLETE: "is INCOMPLETE",
    IncidentKind.UNREPAIRED: "stays INCOMPLETE",
}


def headline(notice: Notice) -> str:
    """The notice in a few words, as a subject line."""
    incident = notice.incident
    if notice.kind is NoticeKind.ALL_CLEAR:
        return f"All clear: {incident_location(incident)}"
    if notice.kind is NoticeKind.TEST:
        return f"Test: {incident_location(incident)}"
    return f"{notice.kind.capitalize()}: {incident_location(incident)} {_HEADLINES[incident.kind]}"
