"""`campaign-sync fact-sheet`: what the configuration says for the record of processing activities (Art. 30 GDPR)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.engine import make_url

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.cli.table_page import PageSection, PageTable, table_page
from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.domain.message import Language, Message
from campaign_sync.domain.moment import moment
from campaign_sync.domain.recipient import TechnicalField
from campaign_sync.replacement.list_settings import ListSettings, list_settings
from campaign_sync.storage.private_files import create_private_folder, write_atomically

_FIELD, _FROM, _WHAT, _DAYS, _WHO, _SEES, _WHERE = (
    Message("field at Optimizely Campaign"),
    Message("column of the CRM"),
    Message("what"),
    Message("days"),
    Message("who"),
    Message("sees"),
    Message("where"),
)


def write_fact_sheet(configuration: Configuration, language: Language, file: Path | None) -> Path:
    """Write the fact sheet in a language, and return its path. Calls nothing, and has no secrets in it.

    Args:
        configuration: of everything.
        language: of the page.
        file: where to write; by default in the working directory.

    Raises:
        CommandError: it can't be written.
    """
    target = file or Path(f"fact-sheet.{language}.html")
    try:
        create_private_folder(target.absolute().parent)
        write_atomically(target, fact_sheet(configuration, datetime.now(UTC), language).encode())
    except OSError as error:
        raise CommandError(f"{target} can't be written: {error.strerror}; choose another by --output") from None
    return target


def fact_sheet(configuration: Configuration, now: datetime, language: Language) -> str:
    """Return the page."""
    introduction = [
        Message("As of {moment}, by the configuration.", moment=moment(now, UTC)),
        Message(
            "campaign_sync selects people in the CRM who have granted one consent, copies them into the "
            "recipient lists of Optimizely Campaign, and brings bounces, unsubscribes and, where configured, "
            "responses back into the CRM."
        ),
    ]
    notes = [
        Message(
            "To be added: controller and data protection officer, purposes and legal bases, transfers to third "
            "countries, what else CRM and Optimizely Campaign hold and for how long, and the measures beyond "
            "this product."
        )
    ]
    sections = [
        *_lists(configuration),
        _way_back(configuration),
        _places(configuration),
        _retention(configuration),
        _readers(configuration),
    ]
    title = Message("campaign_sync: fact sheet for the record of processing activities (Art. 30 GDPR)")
    return table_page(title, introduction, notes, sections, language)


def _lists(configuration: Configuration) -> Iterator[PageSection]:
    for mandator, settings in configuration.mandators.items():
        for name in settings.lists:
            yield _list(list_settings(configuration, mandator, name))


def _list(settings: ListSettings) -> PageSection:
    technical = ((settings.recipient_list.technical_attribute(field), _TECHNICAL[field]) for field in TechnicalField)
    rows: list[tuple[str, str]] = [(Message("recipient id and address"), Message("e-mail address")), *technical]
    rows += settings.schema.attributes.items()
    notes = [
        Message("Only with the consent {opt_in} granted.", opt_in=settings.schema.opt_in_id),
        Message("Selected: {pick}.", pick=settings.pick_title),
    ]
    if settings.exclusion_titles:
        notes.append(Message("Left out: {picks}.", picks=settings.exclusion_titles))
    title = Message(
        "To Optimizely Campaign: {mandator} (client {mandator_id}), list {list} ({list_id})",
        mandator=settings.mandator_display_name,
        mandator_id=settings.mandator_settings.mandator_id,
        list=settings.display_name,
        list_id=settings.recipient_list_id,
    )
    return PageSection(title, [PageTable((_FIELD, _FROM), rows)], notes=notes)


_TECHNICAL = {
    TechnicalField.OPT_IN_ID: Message("id of the consent"),
    TechnicalField.DESCRIPTION: Message("description of the consent"),
    TechnicalField.MEDIA_TYPE: Message("kind of medium of the consent"),
    TechnicalField.ENTITY_TYPE: Message("kind of record"),
    TechnicalField.ENTITY_ID: Message("id of the record"),
}


def _way_back(configuration: Configuration) -> PageSection:
    rows = []
    for mandator, settings in configuration.mandators.items():
        name = settings.display_name(mandator)
        rows.append((name, Message("bounces and unsubscribes"), ", ".join(settings.feedback.readers)))
        if settings.responses:
            rows.append((name, Message("responses"), ", ".join(settings.responses.readers)))
    heading = (Message("mandator"), _WHAT, Message("readers"))
    return PageSection(Message("From Optimizely Campaign, and into the CRM"), [PageTable(heading, rows)])


def _places(configuration: Configuration) -> PageSection:
    database = make_url(configuration.storage.state_url.get_secret_value())
    rows = [
        (Message("CRM"), configuration.crm.adapter),
        (Message("files: snapshots, feedback, responses"), configuration.storage.frames),
        (Message("state database"), " ".join(filter(None, (database.get_backend_name(), database.host)))),
        (Message("copy of a CRM that is copied"), configuration.storage.crm_copies),
        (Message("vendor"), configuration.optimizely.base_url),
    ]
    if configuration.erasure.copies:
        rows.insert(
            2,
            (
                Message("copies of erasures: keyed hashes, the reason and who gave the command"),
                configuration.erasure.copies,
            ),
        )
    return PageSection(Message("Where it is stored"), [PageTable((_WHAT, _WHERE), rows)])


def _retention(configuration: Configuration) -> PageSection:
    limits = configuration.retention
    rows = [(_KINDS[kind], f"{getattr(limits, kind) / timedelta(days=1):g}") for kind in type(limits).model_fields]
    notes = [
        Message(
            "Without a limit, because it decides whether a person may be written to: withdrawals and states of "
            "consents as keyed pseudonyms, keyed hashes of people who were erased, feedback that the CRM doesn't know, "
            "and who is on the vendor's unsubscribe list and blocklist."
        )
    ]
    return PageSection(Message("How long"), [PageTable((_WHAT, _DAYS), rows)], notes=notes)


_KINDS = {
    "runs": Message("runs of Dagster: counts, no people"),
    "events": Message("events of runs and results of checks: counts and keyed pseudonyms"),
    "ticks": Message("what schedules and sensors did: no people"),
    "frames": Message("snapshots of lists, and why people aren't in them"),
    "plans": Message("rows of plans that were never sent"),
    "feedback": Message("bounces, unsubscribes and responses as received"),
    "responses": Message("opens, clicks and other responses by day"),
    "write_backs": Message("which feedback led to which entry in the CRM"),
    "acceptances": Message("names of employees who accepted or approved something"),
    "inquiries": Message("names of employees who asked about people"),
    "reports": Message("daily reports: counts, no recipients"),
}


def _readers(configuration: Configuration) -> PageSection:
    alarms = configuration.alarms
    rows: list[tuple[str, str]] = []
    for mandator, settings in configuration.mandators.items():
        rows += _readers_of(mandator, settings)
    if alarms.email:
        rows.append((", ".join(alarms.email.to), Message("alarms by mail: counts and causes, no recipients")))
    rows += [
        (name, Message("alarms: counts and causes, no recipients")) for name in (*alarms.webhooks, *alarms.apprise)
    ]
    rows += [
        (Message("who reaches Dagster's UI"), Message("counts, results of checks, keyed pseudonyms")),
        (Message("who works on the machine, its databases and backups"), Message("everything")),
    ]
    return PageSection(Message("Who sees it"), [PageTable((_WHO, _SEES), rows)])


def _readers_of(mandator: str, settings: MandatorSettings) -> Iterator[tuple[str, str]]:
    name = settings.display_name(mandator)
    owners = dict.fromkeys([*settings.owners, *(owner for entry in settings.lists.values() for owner in entry.owners)])
    for people, what in (
        (owners, Message("responsible for lists of {mandator}; named in reports", mandator=name)),
        (settings.report_to, Message("the daily report of {mandator}: counts, no recipients", mandator=name)),
        (settings.alarms_to, Message("alarms of {mandator}: counts and causes, no recipients", mandator=name)),
    ):
        if people:
            yield ", ".join(people), what
