"""Dispatch of notices to every channel, with a record of what each has sent."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from campaign_sync.alerts.apprise import AppriseChannel
from campaign_sync.alerts.channel import Channel, ChannelError
from campaign_sync.alerts.email import EmailChannel
from campaign_sync.alerts.log import LogChannel
from campaign_sync.alerts.messages import Wording
from campaign_sync.alerts.webhook import WebhookChannel
from campaign_sync.config import Configuration
from campaign_sync.domain.incident import Incident, Notice, NoticeKind
from campaign_sync.storage.incidents import UnsentNotices
from campaign_sync.storage.state import State
from campaign_sync.storage.state_view import StateView


def configured_channels(
    configuration: Configuration, mandator: str, logger: Callable[[], logging.Logger]
) -> list[Channel]:
    """Return the channels for a mandator's incidents; the log is always among them."""
    broken = configuration.broken_mandators.get(mandator)
    alarms, settings = configuration.alarms, broken or configuration.mandators[mandator]
    wording = Wording(settings.zone, configuration.language)
    channels: list[Channel] = [LogChannel(logger, settings.zone)]
    if alarms.email is not None:
        to = settings.alarms_to or alarms.email.to
        channels.append(EmailChannel(alarms.email, to, wording, alarms.ui_url))
    channels += [WebhookChannel(key, target, wording, alarms.ui_url) for key, target in alarms.webhooks.items()]
    channels += [
        AppriseChannel(key, target, wording, alarms.ui_url)
        for key, target in alarms.apprise.items()
        if not target.mandators or mandator in target.mandators
    ]
    return channels


def installation_channels(configuration: Configuration, logger: Callable[[], logging.Logger]) -> list[Channel]:
    """Return the channels for incidents that concern no mandator: those that aren't of single mandators, if any."""
    alarms, wording = configuration.alarms, Wording(UTC, configuration.language)
    channels: list[Channel] = [LogChannel(logger, wording.zone)]
    if alarms.email is not None:
        channels.append(EmailChannel(alarms.email, alarms.email.to, wording, alarms.ui_url))
    channels += [WebhookChannel(key, target, wording, alarms.ui_url) for key, target in alarms.webhooks.items()]
    shared = {key: target for key, target in alarms.apprise.items() if not target.mandators}
    targets = shared if shared or len(channels) > 1 else alarms.apprise
    channels += [AppriseChannel(key, target, wording, alarms.ui_url) for key, target in targets.items()]
    return channels


def send_notices(
    state: State,
    unsent: UnsentNotices,
    view: StateView,
    mandator: str,
    channels: Sequence[Channel],
    lists: Mapping[str, int | None],
) -> list[str]:
    """Send through each channel what it hasn't sent yet, and return the problems; the next tick tries again.

    A channel that fails isn't used again until then, and delays no other. An incident that isn't found any more because
    its list isn't among `lists`, or is another list at the vendor there, isn't over: the list is no longer watched.

    Args:
        state: where it is recorded what was sent.
        unsent: of all mandators.
        view: the state that the incidents were detected from.
        mandator: whose notices are sent.
        channels: its channels.
        lists: the vendor's ids of its lists, by their names; None for an id that can't be read.
    """
    problems = []
    for channel in channels:
        try:
            for pending in unsent.of(mandator, channel.name):
                notice = _unless_unwatched(pending, view, lists)
                state.incidents.require_writable(notice)  # else it would be sent again at every tick
                channel.send(notice)
                state.incidents.mark_sent(notice, channel.name, datetime.now(UTC))
        except ChannelError as error:
            problems.append(str(error))
    return problems


def _unless_unwatched(notice: Notice, view: StateView, lists: Mapping[str, int | None]) -> Notice:
    incident = notice.incident
    if notice.kind is not NoticeKind.ALL_CLEAR or not incident.subject.is_list:
        return notice
    mandator, name = incident.mandator, incident.subject.name
    if name in lists:
        is_unwatched = incident.kind.is_of_contents and _is_of_former_list(incident, view, lists[name])
    else:
        is_unwatched = not view.of_list(mandator, name).proven_elsewhere
    return dataclasses.replace(notice, kind=NoticeKind.UNWATCHED) if is_unwatched else notice


def _is_of_former_list(incident: Incident, view: StateView, list_id: int | None) -> bool:
    """Return whether an incident began before its list became another one at the vendor, and was of the former."""
    mandator, name = incident.mandator, incident.subject.name
    if list_id is None:
        return False
    return view.was_other_list(mandator, name, list_id) or any(
        unfinished.list == name
        and unfinished.recipient_list_id != list_id
        and incident.since <= (unfinished.cleared_at or unfinished.started_at)
        for unfinished in view.left_incomplete(mandator)
    )
