"""Detection of incidents from the state database: incomplete, doubtful and drifted lists, outdated feedback."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.distribution import manual_page
from campaign_sync.domain.asset_names import AssetKind, AssetName, recipient_list_page
from campaign_sync.domain.feedback_age import Freshness
from campaign_sync.domain.incident import FEEDBACK, MAILED_REPORT, Incident, IncidentKind, Subject, vendor_list
from campaign_sync.domain.message import Message, as_sentence, day_text, join_messages
from campaign_sync.domain.moment import moment
from campaign_sync.domain.readiness import Attempt, Readiness
from campaign_sync.feedback.freshness import judge_age
from campaign_sync.replacement.list_readiness import Expected, judge_lists
from campaign_sync.storage.replacements import Replacement
from campaign_sync.storage.report_mails import ReportMail
from campaign_sync.storage.state import Acceptances
from campaign_sync.storage.state_view import StateView

MANUAL = manual_page("operations.md")
"""The document with the runbooks; alarms name its sections."""

_FROM_RUNS = frozenset({IncidentKind.CHECK, IncidentKind.FAILED, IncidentKind.DIED})


def incomplete_lists(
    configuration: Configuration,
    mandator: str,
    view: StateView,
    late: Collection[str],
    gives_up: Callable[[str, Replacement], bool],
    hindrance: Callable[[], str | None],
    accepted: Callable[[Collection[str]], Acceptances],
) -> Iterator[Incident]:
    """Yield the incomplete lists that no living run is replacing; of those in `late`, all.

    `gives_up` returns whether no further automatic attempt is made, `hindrance` what keeps any from being made, and
    `accepted` what people had accepted for runs.
    """
    settings = configuration.mandators[mandator]
    for name, list_settings in settings.lists.items():
        list_id = list_settings.recipient_list_id
        state = view.of_list(mandator, name, list_id)
        unfinished, since = state.incomplete, state.incomplete_since
        if unfinished is None or since is None:
            continue
        if name not in late and list_id in view.locks.living:
            continue
        given_up = not settings.automation.repair or gives_up(name, unfinished)
        hindered = None if given_up else hindrance()
        yield Incident(
            mandator,
            Subject.of_list(name),
            IncidentKind.UNREPAIRED if given_up or hindered else IncidentKind.INCOMPLETE,
            since,
            Message(
                "The list {list} is INCOMPLETE since {moment}: it was cleared and isn't full again.",
                list=named(settings, mandator, name),
                moment=moment(since, settings.zone),
            ),
            _incomplete_remedy(
                mandator,
                name,
                state.attempts if given_up else None,
                hindered,
                accepting_options(accepted(state.runs_since_proof), {name}),
            ),
            recipient_list_page(mandator, name, prefix=configuration.prefix),
        )


def not_as_proven(
    configuration: Configuration,
    mandator: str,
    view: StateView,
    attempts: Mapping[str, Attempt] | None,
    now: datetime,
    expected: Expected,
) -> Iterator[Incident]:
    """Yield lists that were changed at the vendor after their proof, and lists whose newest replacement lacks a check.

    Every other state has incidents of its own: incomplete, late, failed, a failed check, old feedback.
    """
    settings = configuration.mandators[mandator]
    for judged in judge_lists(configuration, mandator, view, attempts, now, expected):
        readiness, since, page = (
            judged.status.readiness,
            judged.status.since,
            recipient_list_page(mandator, judged.name, prefix=configuration.prefix),
        )
        again = f"`campaign-sync run {mandator} --list {judged.name}`"
        called = named(settings, mandator, judged.name)
        if readiness is Readiness.DRIFTED and since and judged.drift:
            yield Incident(
                mandator,
                Subject.of_list(judged.name),
                IncidentKind.DRIFTED,
                since,
                Message(
                    "The list {list} was changed at the vendor after its proof, as was found at {moment}: "
                    "{differences}.",
                    list=called,
                    moment=moment(since, settings.zone),
                    differences=judged.drift.read_back.summary if judged.drift.read_back else "",
                ),
                Message(
                    "Send nothing to it until the all-clear. Find out who or what has changed it, then run {command}; "
                    "{manual}, “A list was changed after its proof”.",
                    command=again,
                    manual=MANUAL,
                ),
                page,
            )
        if readiness is Readiness.CHECK_MISSING and since:
            yield Incident(
                mandator,
                Subject.of_list(judged.name),
                IncidentKind.CHECK,
                since,
                Message("The list {list} {state:inline}.", list=called, state=judged.status.message),
                Message("See on the run's page why it wasn't checked, then run {command}.", command=again),
                page,
            )


def doubtful_lists(configuration: Configuration, mandator: str, view: StateView) -> Iterator[Incident]:
    """Yield the lists that seem half full though the journal has no replacement that left them so."""
    settings = configuration.mandators[mandator]
    for name, list_id in settings.recipient_list_ids.items():
        state = view.of_list(mandator, name, list_id)
        fill = state.partial_fill
        if fill is not None and state.incomplete is None:
            yield Incident(
                mandator,
                Subject.of_list(name),
                IncidentKind.SUSPECTED_PARTIAL_FILL,
                fill.found_at,
                Message(
                    "The list {list} looks half full: it held {held} recipients, nearly all of them among the "
                    "{expected} that it should hold, when that was found ({moment}), and no record explains it.",
                    list=named(settings, mandator, name),
                    held=fill.held,
                    expected=fill.expected,
                    moment=moment(fill.found_at, settings.zone),
                ),
                Message(
                    "Send nothing to it until the all-clear. If the {expected} are right, fill it up: {command}; see "
                    "{manual}, “A list looks half full”.",
                    expected=fill.expected,
                    command=f"`campaign-sync run {mandator} --list {name} --accept-size REASON`",
                    manual=MANUAL,
                ),
                recipient_list_page(mandator, name, prefix=configuration.prefix),
            )


def being_replaced(configuration: Configuration, mandator: str, view: StateView) -> set[Subject]:
    """Return the lists that are being replaced now."""
    lists = configuration.mandators[mandator].lists.items()
    return {
        Subject.of_list(name) for name, list_settings in lists if list_settings.recipient_list_id in view.locks.living
    }


def replaced_since(configuration: Configuration, mandator: str, view: StateView) -> set[Subject]:
    """Return the lists that were replaced and proven since their open incident began, so that it is over."""
    ids = configuration.mandators[mandator].recipient_list_ids
    return {
        subject
        for subject, incident in view.open_incidents(mandator).items()
        if subject.is_list
        and (state := view.of_list(mandator, subject.name, ids.get(subject.name))).proven is not None
        and state.proven.started_at > incident.since
        and state.incomplete is None
    }


def known_from_runs(mandator: str, view: StateView) -> set[Subject]:
    """Return the subjects whose open incident only the history of runs shows to be over."""
    return {subject for subject, incident in view.open_incidents(mandator).items() if incident.kind in _FROM_RUNS}


def left_behind(configuration: Configuration, mandator: str, view: StateView) -> set[Subject]:
    """Return what an incomplete list is called by its open incidents though the configuration calls it otherwise."""
    ids = configuration.mandators[mandator].recipient_list_ids
    subjects: set[Subject] = set()
    for unfinished in view.left_incomplete(mandator):
        subjects.add(vendor_list(unfinished.recipient_list_id))
        if unfinished.recipient_list_id in ids.values() and ids.get(unfinished.list) != unfinished.recipient_list_id:
            subjects.add(Subject.of_list(unfinished.list))
    return subjects & view.open_incidents(mandator).keys()


def former_lists(configuration: Configuration, mandator: str, view: StateView) -> Iterator[Incident]:
    """Yield the lists at the vendor that were left incomplete before their name got another `recipient_list_id`."""
    settings = configuration.mandators[mandator]
    ids = settings.recipient_list_ids
    for unfinished in view.left_incomplete(mandator):
        former, since = unfinished.recipient_list_id, unfinished.cleared_at or unfinished.started_at
        if unfinished.list not in ids or former in ids.values():
            continue
        yield Incident(
            mandator,
            vendor_list(former),
            IncidentKind.UNREPAIRED,
            since,
            Message(
                "Recipient list {former} is INCOMPLETE since {moment}: it was cleared and isn't full again, and "
                "{list}, which it was then, has the recipient_list_id {current} in the configuration now.",
                former=former,
                moment=moment(since, settings.zone),
                list=f"{mandator}/{unfinished.list}",
                current=ids[unfinished.list],
            ),
            Message(
                "Send nothing to it: part of its people are missing, and nothing repairs it. Clear or delete it at the "
                "vendor, and start the job {job}, which finds that; or restore its recipient_list_id, or configure it "
                "as a further list, and replace it; {manual}, “Adding a mandator or a list”.",
                job=f"{mandator}_list_drift",
                manual=MANUAL,
            ),
            recipient_list_page(mandator, unfinished.list, prefix=configuration.prefix),
        )


def old_feedback(
    configuration: Configuration, mandator: str, view: StateView, now: datetime, pause: timedelta
) -> Iterator[Incident]:
    """Yield an incident if feedback is too old to replace lists, or soon lost.

    Before the first import none can be lost.

    `pause` is how old it becomes by plan, as on weekends: the next import comes before the next replace.
    """
    feedback = configuration.mandators[mandator].feedback
    until = view.feedback_until(mandator)
    verdict = judge_age(mandator, feedback.readers, feedback.age_limits, until, now)
    if verdict.freshness in (Freshness.FRESH, Freshness.WARNING) or verdict.age is None or not until:
        return
    lost = verdict.freshness is Freshness.ALARM
    if not lost and verdict.age <= pause:
        return
    suppression_state = AssetName(mandator, AssetKind.SUPPRESSION_STATE, prefix=configuration.prefix)
    yield Incident(
        mandator,
        FEEDBACK,
        IncidentKind.FEEDBACK_LOST if lost else IncidentKind.FEEDBACK_OLD,
        now - verdict.age,
        as_sentence(verdict.message),
        Message(
            "No list of the mandator is replaced, so people who withdrew a consent in the CRM since then would still "
            "be mailed: see {manual}, “Feedback has grown old”.",
            manual=MANUAL,
        ),
        f"{suppression_state.page}?view=checks&checkDetail=feedback_age",
    )


def unsent_report(configuration: Configuration, mandator: str, mail: ReportMail | None) -> Iterator[Incident]:
    """Yield an incident if the mandator's report couldn't be mailed when that was tried last; `mail` is that mail."""
    if mail is None or mail.problem is None:
        return
    report = AssetName(mandator, AssetKind.REPORT, prefix=configuration.prefix)
    yield Incident(
        mandator,
        MAILED_REPORT,
        IncidentKind.FAILED,
        mail.attempted_at,
        Message(
            "The report of {day} couldn't be mailed: {problem:inline}.",
            day=day_text(mail.day),
            problem=mail.problem,
        ),
        Message(
            "No list is concerned, and the report itself was written. Correct that, and materialize {asset}: the mail "
            "is then sent.",
            asset=str(report),
        ),
        report.page,
    )


def named(settings: MandatorSettings, mandator: str, name: str) -> str:
    """Return a list's title and its key in the configuration."""
    title = settings.lists[name].title
    return f"“{title}” ({mandator}/{name})" if title else f"{mandator}/{name}"


def accepting_options(accepted: Acceptances, lists: Collection[str]) -> list[str]:
    """Return the options of `campaign-sync run` by which what was accepted for these lists is accepted again."""
    given = {"--accept-size": accepted.sizes, "--accept-withdrawals": accepted.withdrawals}
    return [f"{option} REASON" for option, of_lists in given.items() if not of_lists.isdisjoint(lists)]


def _incomplete_remedy(
    mandator: str, name: str, attempts: int | None, hindrance: str | None, options: Sequence[str]
) -> str:
    """Return what to do about an incomplete list.

    `attempts` is how many failed if no further one is made, `hindrance` what keeps any from being made, and the remedy;
    `options` accept again what was accepted for the runs that left it so.
    """
    remedy = _how_to_complete(
        mandator, f"`{' '.join(['campaign-sync run', mandator, f'--list {name}', *options])}`", attempts, hindrance
    )
    if not options:
        return remedy
    return join_messages(" ", [remedy, Message("What was accepted for an earlier run holds for no new one.")])


def _how_to_complete(mandator: str, command: str, attempts: int | None, hindrance: str | None) -> Message:
    if hindrance:
        return Message(
            "Send nothing to it until the all-clear: part of its people are missing. Nothing repairs it automatically, "
            "because {hindrance}: then it is repaired within minutes. If not, run {command} and see {manual}, "
            "“A list is INCOMPLETE”.",
            hindrance=hindrance,
            command=command,
            manual=MANUAL,
        )
    if attempts is None:
        return Message(
            "Send nothing to it until the all-clear: part of its people are missing. It is usually repaired "
            "automatically, within minutes after the last run of {mandator} that is under way; if not, run {command} "
            "and see {manual}, “A list is INCOMPLETE”.",
            mandator=mandator,
            command=command,
            manual=MANUAL,
        )
    return Message(
        "Send nothing to it: part of its people are missing, and no further attempt is made automatically (attempts so "
        "far: {attempts}). See why its last run failed, then run {command}; {manual}, “A list is INCOMPLETE”.",
        attempts=attempts,
        command=command,
        manual=MANUAL,
    )
