"""Incidents: what is wrong with a mandator's lists and feedback, and the notices about it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from campaign_sync.domain.message import Message, join_messages


@dataclass(frozen=True)
class Subject:
    """The subject of an incident: a recipient list, or another part of a mandator such as its feedback."""

    name: str
    """The list's key in the configuration, or the name of the part, like `the feedback`."""
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


CONFIGURATION = Subject("the configuration")
"""A mandator's settings."""

INSTALLATION = "the installation"
"""Takes the place of a mandator in incidents that concern none: no key of the configuration has a blank."""

MAILED_REPORT = Subject("the mailed report")
"""A mandator's report by mail."""

RETENTION = Subject("the retention")
"""The purge of what is older than its limit."""

ERASURES = Subject("the erasure of people")
"""The removal of erased people from every place."""


class IncidentKind(StrEnum):
    """The kinds of incidents, the most severe last. The values are stored and sent."""

    CHECK = "check"
    """A step succeeded, and a check of its result failed."""
    LATE = "late"
    """The list wasn't replaced by its deadline."""
    UNUSABLE = "unusable"
    """The mandator's settings have mistakes, or secrets are missing, so nothing of it runs."""
    FAILED = "failed"
    """A step failed before anything was changed."""
    DIED = "died"
    """A run ended without an error message."""
    FEEDBACK_OLD = "feedback_old"
    """The feedback is too old for replacing lists."""
    FEEDBACK_LOST = "feedback_lost"
    """The feedback is so old that the vendor will soon delete some that wasn't imported."""
    DRIFTED = "drifted"
    """The list has changed since its proof."""
    SUSPECTED_PARTIAL_FILL = "doubtful"
    """The list looks half full, and no replacement is recorded that left it so."""
    INCOMPLETE = "incomplete"
    """The list was cleared, isn't full again, and isn't being replaced."""
    UNREPAIRED = "unrepaired"
    """The same, and no further repair is started automatically."""

    @property
    def severity(self) -> int:
        """The rank among the kinds; the highest is the most severe."""
        return list(IncidentKind).index(self)

    @property
    def is_of_contents(self) -> bool:
        """Whether it says that a list at the vendor doesn't hold whom it should."""
        return _IMPACTS[self] == _WRONG_CONTENTS


_WRONG_CONTENTS = 3

_IMPACTS = {
    IncidentKind.CHECK: 0,
    IncidentKind.LATE: 1,
    IncidentKind.UNUSABLE: 1,
    IncidentKind.FAILED: 1,
    IncidentKind.DIED: 1,
    IncidentKind.FEEDBACK_OLD: 2,
    IncidentKind.FEEDBACK_LOST: 2,
    IncidentKind.DRIFTED: _WRONG_CONTENTS,
    IncidentKind.SUSPECTED_PARTIAL_FILL: _WRONG_CONTENTS,
    IncidentKind.INCOMPLETE: _WRONG_CONTENTS,
    IncidentKind.UNREPAIRED: _WRONG_CONTENTS,
}
"""What each kind means for the next mailing. An incident isn't over while one with the same impact remains."""


@dataclass(frozen=True)
class Incident:
    """An incident of a mandator, described in two sentences without personal data."""

    mandator: str
    subject: Subject
    kind: IncidentKind
    since: datetime
    what: str
    """What is wrong and since when."""
    remedy: str
    """What it means for the next mailing, and the command or page that helps."""
    page: str
    """The path of the page in Dagster's UI that shows the incident."""

    @property
    def impact(self) -> int:
        """What it means for the next mailing; the highest is the worst. A list with a failed check wasn't replaced."""
        stopped = self.kind is IncidentKind.CHECK and self.subject.is_list
        return _IMPACTS[IncidentKind.FAILED if stopped else self.kind]


@dataclass(frozen=True)
class IncidentChanges:
    """What has changed since the last check of a mandator's incidents."""

    new: tuple[Incident, ...]
    worse: tuple[Incident, ...]
    resolved: tuple[Subject, ...]

    def apply(self, known: Mapping[Subject, Incident]) -> dict[Subject, Incident]:
        """Return the incidents that are open after these changes. One that got worse keeps its beginning."""
        staying = {subject: incident for subject, incident in known.items() if subject not in self.resolved}
        worse = {
            incident.subject: replace(incident, since=known[incident.subject].since)
            for incident in self.worse
            if incident.subject in staying
        }
        return staying | worse | {incident.subject: incident for incident in self.new}


@dataclass(frozen=True)
class DetectedIncidents:
    """What a check has detected of a mandator."""

    incidents: Collection[Incident]
    in_progress: Collection[Subject]
    """Subjects whose incidents can't be over yet, because a run is at work on them."""


def compare_incidents(
    known: Mapping[Subject, Incident], current: Iterable[Incident], in_progress: Collection[Subject]
) -> IncidentChanges:
    """Return which incidents are new, worse or resolved. Of each subject only the most severe incident counts.

    If the most severe one is over and one with a lower impact remains, the former is resolved and the latter is new.

    Args:
        known: the open incidents by subject.
        current: the incidents now.
        in_progress: subjects that a run is working on, so their incidents can't be resolved yet.
    """
    most_severe = most_severe_by_subject(current)
    resolved = tuple(
        subject
        for subject, incident in known.items()
        if subject not in in_progress and (subject not in most_severe or most_severe[subject].impact < incident.impact)
    )
    return IncidentChanges(
        new=tuple(incident for subject, incident in most_severe.items() if subject not in known or subject in resolved),
        worse=tuple(
            incident
            for subject, incident in most_severe.items()
            if subject in known and incident.kind.severity > known[subject].kind.severity
        ),
        resolved=resolved,
    )


def most_severe_by_subject(incidents: Iterable[Incident]) -> dict[Subject, Incident]:
    """Return the most severe incident of each subject; of equally severe ones the oldest."""
    most_severe: dict[Subject, Incident] = {}
    for incident in sorted(incidents, key=lambda incident: (-incident.kind.severity, incident.since)):
        most_severe.setdefault(incident.subject, incident)
    return most_severe


def described_now(incidents: Mapping[Subject, Incident], current: Iterable[Incident]) -> dict[Subject, Incident]:
    """Return the incidents as they are described now: what remains the same incident may need another remedy by now."""
    described = most_severe_by_subject(current)
    return {
        subject: replace(described[subject], since=incident.since)
        if subject in described and described[subject].kind is incident.kind
        else incident
        for subject, incident in incidents.items()
    }


class NoticeKind(StrEnum):
    """The kinds of notices."""

    ALARM = "alarm"
    WORSE = "worse"
    ALL_CLEAR = "all clear"
    UNWATCHED = "unwatched"
    """The list was removed from the configuration during an incident."""
    TEST = "test"


@dataclass(frozen=True)
class Notice:
    """A notice of an incident that a channel has yet to send."""

    kind: NoticeKind
    incident: Incident
    until: datetime | None = None
    """When the incident was over; None while it is open."""
    id: str = ""
    """The id of the incident in the state database."""


SUBJECT_NAMES: Final = {
    "the feedback": Message("the feedback"),
    "a run": Message("a run"),
    "the configuration": Message("the configuration"),
    "the retention": Message("the retention"),
    "the erasure of people": Message("the erasure of people"),
    "the state database": Message("the state database"),
    "the alarms": Message("the alarms"),
    "the responses": Message("the responses"),
    "the audit": Message("the audit"),
    "the list_drift": Message("the list_drift"),
    "the report": Message("the report"),
    "the mailed report": Message("the mailed report"),
}
"""What people call the subjects that aren't lists, by the names that are stored."""

_VENDOR_LIST: Final = "recipient list "


def vendor_list(recipient_list_id: int) -> Subject:
    """Return the subject of a list at the vendor that no list of the configuration is any more."""
    return Subject(f"{_VENDOR_LIST}{recipient_list_id}")


def incident_location(incident: Incident) -> str:
    """Return where the incident is: `nord/newsletter`, `the feedback of nord`."""
    return subject_location(incident.mandator, incident.subject)


def subject_location(mandator: str, subject: Subject) -> str:
    """Return where a subject of a mandator is, in the same words."""
    if subject.is_list:
        return f"{mandator}/{subject}"
    called = SUBJECT_NAMES.get(subject.name, subject.name)
    if subject.name.startswith(_VENDOR_LIST):
        called = Message("recipient list {id}", id=subject.name.removeprefix(_VENDOR_LIST))
    if mandator == INSTALLATION:
        return Message("{subject} of the installation", subject=called)
    return Message("{subject} of {mandator}", subject=called, mandator=mandator)


_HEADLINES: Final = {
    IncidentKind.CHECK: Message("a check failed"),
    IncidentKind.LATE: Message("is late"),
    IncidentKind.UNUSABLE: Message("can't be used"),
    IncidentKind.FAILED: Message("failed"),
    IncidentKind.DIED: Message("died"),
    IncidentKind.FEEDBACK_OLD: Message("has grown old, no list is replaced"),
    IncidentKind.FEEDBACK_LOST: Message("will soon be lost"),
    IncidentKind.DRIFTED: Message("was changed after its proof"),
    IncidentKind.SUSPECTED_PARTIAL_FILL: Message("looks half full"),
    IncidentKind.INCOMPLETE: Message("is INCOMPLETE"),
    IncidentKind.UNREPAIRED: Message("stays INCOMPLETE"),
}

_STAGES: Final = {
    NoticeKind.ALARM: Message("Alarm"),
    NoticeKind.WORSE: Message("Worse"),
    NoticeKind.ALL_CLEAR: Message("All clear"),
    NoticeKind.UNWATCHED: Message("Unwatched"),
    NoticeKind.TEST: Message("Test"),
}


def headline(notice: Notice) -> Message:
    """Return the subject line of a notice."""
    incident = notice.incident
    beginning = join_messages(": ", [_STAGES[notice.kind], incident_location(incident)])
    if notice.kind in (NoticeKind.ALL_CLEAR, NoticeKind.TEST):
        return beginning
    return Message("{beginning} {state}", beginning=beginning, state=_HEADLINES[incident.kind])
