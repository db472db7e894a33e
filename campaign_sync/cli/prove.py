"""Proof of consent: why somebody was written to on one day."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rich.console import Console

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.config import Configuration
from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.consent import ConsentEvent, current_consent
from campaign_sync.domain.entity import Entity
from campaign_sync.domain.feedback import FINAL_BOUNCES, RawRow
from campaign_sync.domain.membership import Rejection, why_not
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.suppression_reasons import suppression_reasons
from campaign_sync.inquiry.consent_evidence import Evidence, Person, Standing, print_evidence
from campaign_sync.inquiry.person import Asked, understand, unknown
from campaign_sync.inquiry.sources import Sent, Sources, open_sources, united
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.storage.crm_write_backs import WriteBackRecord
from campaign_sync.storage.files import FileStorageError
from campaign_sync.storage.replacement_history import ProvenList

Named = tuple[str, str]
"""A list: keys of mandator and list in the configuration."""


def print_proof(
    configuration: Configuration, who: str, lists: Collection[Named], day: date | None, console: Console
) -> None:
    """Print on which consent everybody whom `who` names was in which list, and what has happened since.

    Args:
        configuration: all mandators.
        who: an address, or a record of the CRM.
        lists: the lists to tell of.
        day: its end counts, in each mandator's time zone; None for now.
        console: where to.

    Raises:
        CommandError: nobody is known by that name, or the day lies ahead. The message doesn't repeat an address.
    """
    asked = understand(who)
    with open_sources(configuration, console) as sources:
        moments = {key: _end_of(day, mandator.zone) for key, mandator in configuration.mandators.items()}
        chosen = [each for each in sources.targets if (each.mandator, each.name) in lists]
        found = _people(sources, asked, chosen, moments)
    if not found:
        at = f"of {day} or of today" if day else "in force now; ask for the day in question with --at"
        raise unknown(who, asked, f"the snapshots {at}", feedback=False)
    print_evidence(found, day, console)


def _end_of(day: date | None, zone: ZoneInfo) -> datetime:
    now = datetime.now(UTC)
    if day is None:
        return now
    if day > now.astimezone(zone).date():
        raise CommandError(f"{day} lies ahead; ask for a day that is over, or for today", SOMETHING_FAILED)
    midnight = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    return min(now, midnight - timedelta(microseconds=1))


@dataclass(frozen=True)
class _Shelf:
    """A list at one moment, and the rows of its snapshot that are about the people asked for."""

    standing: Standing
    sent: Mapping[str, Sent]


@dataclass(frozen=True)
class _List:
    """A list on the day asked for, and now."""

    target: ListSettings
    moment: datetime
    then: _Shelf
    now: _Shelf


def _people(
    sources: Sources, asked: Asked, targets: Sequence[ListSettings], moments: Mapping[str, datetime]
) -> list[Person]:
    in_crm = [asked.entity] if asked.entity else sources.crm.entities_with(asked.address or "")

    def look(address: str | None, people: Collection[Entity]) -> list[_List]:
        return [_look(sources, each, moments[each.mandator], address, people) for each in targets]

    lists = look(asked.address, in_crm)
    everybody = united(in_crm, *(shelf.sent for each in lists for shelf in (each.then, each.now)))
    if len(everybody) > len(in_crm):  # whom an old address led to may be in other lists under another one
        lists = look(None, everybody)
    people = (_person(sources, entity, lists) for entity in everybody)
    return [person for person in people if person.email is not None or any(each.anything for each in person.lists)]


def _look(
    sources: Sources, target: ListSettings, moment: datetime, address: str | None, people: Collection[Entity]
) -> _List:
    proven = sources.state.replacement_history.proven(target.mandator, target.name)
    then = next((each for each in proven if each.proven_at <= moment), None)
    newest = next(iter(proven), None)
    old = _shelf(sources, target, then, moment, address, people)
    if newest is then:
        return _List(target, moment, old, _shelf_again(sources, target, old))
    return _List(target, moment, old, _shelf(sources, target, newest, datetime.now(UTC), address, people))


def _shelf(
    sources: Sources,
    target: ListSettings,
    proven: ProvenList | None,
    moment: datetime,
    address: str | None,
    people: Collection[Entity],
) -> _Shelf:
    standing = Standing(proven=proven, cleared=_cleared(sources, target, proven, moment))
    if proven is None:
        return _Shelf(standing, {})
    try:
        return _Shelf(standing, sources.sent(proven, address, people))
    except FileStorageError as error:
        return _Shelf(replace(standing, unreadable=str(error)), {})


def _shelf_again(sources: Sources, target: ListSettings, shelf: _Shelf) -> _Shelf:
    """The same proof, as things stand now."""
    cleared = _cleared(sources, target, shelf.standing.proven, datetime.now(UTC))
    return _Shelf(replace(shelf.standing, cleared=cleared), shelf.sent)


def _cleared(sources: Sources, target: ListSettings, proven: ProvenList | None, moment: datetime) -> datetime | None:
    after = proven.proven_at if proven else None
    return sources.state.replacement_history.last_cleared(target.mandator, target.name, after, moment)


def _person(sources: Sources, entity: Entity, lists: Sequence[_List]) -> Person:
    email, consents = sources.crm.email(entity), sources.crm.consents(entity)
    return Person(
        str(entity),
        email,
        [_evidence(sources, entity, email, consents.get(each.target.schema.opt_in_id, []), each) for each in lists],
    )


def _evidence(
    sources: Sources, entity: Entity, email: str | None, events: Sequence[ConsentEvent], one: _List
) -> Evidence:
    target = one.target
    ledger = sources.state.replacement_history.rejections(target.mandator, target.name, [entity])
    then, now = (_standing(shelf, str(entity), ledger) for shelf in (one.then, one.now))
    consent = current_consent(events)
    sent = then.sent or now.sent
    address = sent.address if sent else address_key(email)
    against = suppression_reasons(
        sources.suppressions[target.mandator],
        target.schema.opt_in_id,
        str(entity),
        address,
        consent.occurred_at if consent else None,
    )
    written = sources.state.write_backs.find(entity, address)
    still_bounced = any(each.reason is Reason.BOUNCED for each in against)
    return Evidence(
        target=target,
        zone=sources.configuration.mandators[target.mandator].zone,
        moment=one.moment,
        then=then,
        now=now,
        events=events,
        suppression_reasons=against,
        origins={each.event_id: origin for each in written if each.event_id and (origin := _origin(sources, each))},
        resets=[] if still_bounced else [each for each in written if each.bounce_kind in FINAL_BOUNCES],
    )


def _origin(sources: Sources, record: WriteBackRecord) -> str:
    """Which row a withdrawal came from, and why it is of this consent; empty where neither is known."""
    read = f"because of {_row(sources, record.raw)}" if record.raw else ""
    return ", ".join(filter(None, [read, record.attribution and record.attribution.meaning]))


def _row(sources: Sources, raw: RawRow) -> str:
    """Where a piece of feedback was read; rows count from 1, as people count them."""
    fetched = sources.state.feedback_imports.find(raw.import_id)
    return f"row {raw.position + 1} of {fetched.file}" if fetched else "a row that isn't known any more"


def _standing(shelf: _Shelf, key: str, ledger: Mapping[str, Sequence[Rejection]]) -> Standing:
    standing = replace(shelf.standing, sent=shelf.sent.get(key))
    if standing.proven is None or standing.in_list is not False:
        return standing
    reason = why_not(ledger.get(key, []), standing.proven, in_snapshot=standing.sent is not None)
    return replace(standing, reason=reason)
