"""The commands of `campaign-sync`: each parses its arguments, calls, and turns the outcome into an exit code."""

import atexit
import gc
import json
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, get_args

import typer

from campaign_sync.cli.common_options import CommandGroup, common_options
from campaign_sync.cli.completion import complete_list, complete_mandator
from campaign_sync.cli.db import db_app, refuse_other_revision
from campaign_sync.cli.documents import AsJson, RunDocument, console_for, print_document, schema_text
from campaign_sync.cli.error_handling import (
    CONFIGURATION_WRONG,
    NOTHING_WRONG,
    SOMETHING_FAILED,
    SOMETHING_PENDING,
    CommandError,
    Terminal,
)
from campaign_sync.cli.list_choice import lists_named, matching_lists, refuse_broken, require_lists
from campaign_sync.cli.output import LocalTime
from campaign_sync.config import (
    PRESETS,
    Configuration,
    configuration_schema,
    load_configuration,
    preset_text,
    unavailable_secrets,
)
from campaign_sync.distribution import manual_page
from campaign_sync.domain.message import Language
from campaign_sync.extras import PACKAGE
from campaign_sync.garbage import kept_for_ever

app = CommandGroup(
    help="Copies CRM reports and marketing lists into Optimizely Campaign recipient lists, in full, with a proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    callback=common_options,
)
crm_app = CommandGroup(help="The CRM's side.", no_args_is_help=True)
config_app = CommandGroup(help="The configuration file.", no_args_is_help=True)
feedback_app = CommandGroup(help="The vendor's feedback: unsubscribes and bounces.", no_args_is_help=True)
app.add_typer(crm_app, name="crm")
app.add_typer(config_app, name="config")
app.add_typer(db_app, name="db")
app.add_typer(feedback_app, name="feedback")

Mandator = Annotated[
    str, typer.Argument(autocompletion=complete_mandator, help="The mandator's key in the configuration.")
]
ListName = Annotated[
    str,
    typer.Argument(metavar="LIST", autocompletion=complete_list, help="The list's key in the configuration."),
]

ListPatterns = Annotated[
    list[str] | None,
    typer.Option(
        "--list",
        metavar="LIST",
        autocompletion=complete_list,
        help="Only this list, or all that match a pattern like 'newsletter*'; may be repeated.",
    ),
]
Who = Annotated[str, typer.Argument(metavar="WHO", help="An address, or a record of the CRM like contact:4711.")]


_OBJECTS_BETWEEN_SEARCHES = 10_000
"""How many more objects there must be before Python searches for garbage; 700 by default, which takes a sixth of the
time of a list of 100,000."""


def main() -> None:
    """Run the console script. Files that it and its children create are for their owner alone by default."""
    os.umask(0o077)
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    atexit.register(gc.freeze)  # the memory is given back anyway, so nothing is searched before
    app(prog_name=PACKAGE)  # also as `python -m campaign_sync`


@app.command()
def run(
    mandator: Mandator,
    lists: ListPatterns = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only lists that haven't been proven since the last planned time.")
    ] = False,
    accept_size: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Let the lists named by --list change to an implausible size, this once."),
    ] = None,
    accept_withdrawals: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="Forget the withdrawals that a check of the lists named by --list reported as vanished from the CRM.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have Dagster's daemon execute a mandator's daily replacement now, and follow it; without a daemon, execute it."""
    configuration = load_configuration(whole=False)
    names = matching_lists(configuration, mandator, lists or [])
    for option, reason in (("--accept-size", accept_size), ("--accept-withdrawals", accept_withdrawals)):
        if reason is not None and not (lists and set(lists) <= set(names) and reason.strip()):
            raise CommandError(
                f"{option} needs a reason, and the lists it is for, by their full names: --list LIST {option} REASON"
            )
    with kept_for_ever():
        from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, use_instance
        from campaign_sync.cli.next_steps import NextSteps
        from campaign_sync.cli.run import run_daily_replacement

    refuse_other_revision(configuration)
    console = console_for(as_json)
    if failed:
        from campaign_sync.cli.unproven_lists import day_began, unproven_lists

        settings, now = configuration.mandators[mandator], datetime.now(UTC)
        began = day_began(settings, now)
        names = unproven_lists(configuration, mandator, names, began)
        if not names:
            console.print(
                f"Nothing to do: these lists of {mandator} were proven after {LocalTime(settings.zone)(began)}."
            )
            _end_run(RunDocument.of_no_list(mandator), as_json)
    again = " ".join(["campaign-sync run", mandator, *(f"--list {name}" for name in names if lists or failed)])
    next_steps = NextSteps.for_instance(again)
    use_instance(EMBEDDED_HOME)
    document = run_daily_replacement(
        configuration,
        mandator,
        names,
        console,
        next_steps,
        accept_size=accept_size and accept_size.strip(),
        accept_withdrawals=accept_withdrawals and accept_withdrawals.strip(),
    )
    _end_run(document, as_json)


@app.command()
def replay(
    mandator: Mandator,
    name: ListName,
    snapshot: Annotated[str | None, typer.Option(help="Id of a proven snapshot; the last one by default.")] = None,
    accept_size: Annotated[
        str | None, typer.Option(metavar="REASON", help="Let the list change to an implausible size, this once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Refill a list from a proven snapshot without people suppressed since, after the same checks as every day."""
    configuration = load_configuration(whole=False)
    require_lists(configuration, mandator, [name])
    with kept_for_ever():
        from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, use_instance
        from campaign_sync.cli.next_steps import NextSteps
        from campaign_sync.cli.run import replay as replay_snapshot

    refuse_other_revision(configuration)
    next_steps = NextSteps.for_instance(f"campaign-sync replay {mandator} {name}")
    use_instance(EMBEDDED_HOME)
    console = console_for(as_json)
    document = replay_snapshot(configuration, mandator, name, snapshot, console, next_steps, accept_size=accept_size)
    _end_run(document, as_json)


@app.command()
def apply(
    plan: Annotated[
        str, typer.Argument(metavar="PLAN", help="Id of a stored plan, or the file of `plan --save --output`.")
    ],
    as_json: AsJson = False,
) -> None:
    """Replace a list by exactly the rows of a stored plan, without people who left since, if it is what it was then."""
    configuration = load_configuration(whole=False)
    with kept_for_ever():
        from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, use_instance
        from campaign_sync.cli.next_steps import NextSteps
        from campaign_sync.cli.plan_choice import stored_plan
        from campaign_sync.cli.run import apply_plan

    refuse_other_revision(configuration)
    stored = stored_plan(configuration, plan)
    next_steps = NextSteps.for_instance(f"campaign-sync apply {stored.id}")
    use_instance(EMBEDDED_HOME)
    _end_run(apply_plan(configuration, stored, console_for(as_json), next_steps), as_json)


def _end_run(document: RunDocument, as_json: bool) -> NoReturn:
    if as_json:
        print_document(document)
    raise typer.Exit(NOTHING_WRONG if document.proven else SOMETHING_FAILED)


@app.command()
def check(
    instance: Annotated[
        bool,
        typer.Option("--instance", help="Instead, what Dagster's instance at DAGSTER_HOME lacks, and what to add."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try the configuration against the live vendor and the CRM, without changing anything."""
    if instance:
        from campaign_sync.cli.check_instance import check_instance, examine_instance

        if as_json:
            print_document(examine_instance())
        else:
            check_instance(Terminal())
        raise typer.Exit(NOTHING_WRONG)
    from campaign_sync.cli.check import check_everything, find_problems

    configuration = load_configuration(whole=False)
    if as_json:
        document = find_problems(configuration, console_for(as_json))
        print_document(document)
        passed = document.passed
    else:
        passed = check_everything(configuration, Terminal())
    is_wrong = configuration.broken_mandators or unavailable_secrets(configuration)
    raise typer.Exit(CONFIGURATION_WRONG if is_wrong else NOTHING_WRONG if passed else SOMETHING_FAILED)


@app.command()
def plan(
    mandator: Mandator,
    lists: ListPatterns = None,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option(help="Write the JSON to this file as well.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Store the plan, to be approved or applied.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 3 if a run would be admitted and change a list.")
    ] = False,
) -> None:
    """Show what a replacement of the lists would do now, and whether it would be refused. Changes no list."""
    configuration = load_configuration(whole=False)
    names = matching_lists(configuration, mandator, lists or [])
    from campaign_sync.cli.plan import print_plan

    raise typer.Exit(
        print_plan(
            configuration,
            mandator,
            names,
            Terminal(),
            as_json=as_json,
            file=output,
            save=save,
            exit_code=exit_code,
        )
    )


@app.command()
def approve(
    mandator: Mandator,
    name: ListName,
    plan_id: Annotated[str, typer.Argument(metavar="PLAN", help="Id of a stored plan: `plan --save` prints it.")],
    reason: Annotated[str, typer.Option(metavar="REASON", help="Why the list may become what the plan shows.")],
) -> None:
    """Approve a plan of a list, where its next replacement needs that."""
    configuration = load_configuration(whole=False)
    require_lists(configuration, mandator, [name])
    from campaign_sync.cli.approve import approve as approve_plan

    refuse_other_revision(configuration)
    approve_plan(configuration, mandator, name, plan_id, reason, Terminal())


@app.command()
def alarms(
    test: Annotated[bool, typer.Option("--test", help="Send a test through every channel.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is wrong now: open incidents, and lists that aren't ready."""
    if test and as_json:
        raise CommandError("--test prints no table, so it can't be combined with --json; leave one of them out")
    from campaign_sync.cli.alarms import find_incidents, send_test_notices, show_incidents

    configuration = load_configuration(whole=False)
    if as_json:
        document = find_incidents(configuration)
        print_document(document)
        succeeded = document.nothing_wrong
    else:
        succeeded = (send_test_notices if test else show_incidents)(configuration, Terminal())
    raise typer.Exit(NOTHING_WRONG if succeeded else SOMETHING_FAILED)


@app.command()
def why(
    who: Who,
    as_json: AsJson = False,
) -> None:
    """Show for every list whether this person is in it; if not, why, and since when."""
    from campaign_sync.cli.person_document import person_document
    from campaign_sync.cli.why import find_person, print_why

    configuration = load_configuration(whole=False)
    if as_json:
        print_document(person_document(find_person(configuration, who, console_for(as_json))))
    else:
        print_why(configuration, who, Terminal())
    refuse_broken(configuration, "it isn't shown whether this person is in their lists")


@app.command()
def erase(
    who: Annotated[
        list[str] | None, typer.Argument(metavar="[WHO]...", help="Addresses, or records of the CRM like contact:4711.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="REASON", help="Why, such as the number of the request. It names no person.")
    ] = None,
    batch: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Erase also those whom the lines of this file name.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show whom it would erase.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Remove what earlier erasures left pending.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show all erasures. They name no person.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove people from every place, and keep them suppressed by keyed hashes. Exit code 3 if something is pending."""
    from campaign_sync.cli.erase import erase_people, list_erasures, print_erasures, read_batch, retry_erasures

    people = [*(who or []), *(read_batch(batch) if batch else [])]
    if sum([bool(people), retry, show]) != 1:
        raise CommandError("name whom to erase, or a file of them with --batch; or use --retry or --list alone")
    if people and not dry_run and not (reason and reason.strip()):
        raise CommandError("an erasure needs a --reason, such as the number of the request; it names no person")
    if people and not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise CommandError("without a terminal to ask at, an erasure needs --yes")
    configuration = load_configuration()
    refuse_other_revision(configuration)
    console = console_for(as_json)
    if show:
        document = list_erasures(configuration)
    elif retry:
        document = retry_erasures(configuration, console)
    else:
        document = erase_people(configuration, people, (reason or "").strip(), console, dry_run=dry_run, confirmed=yes)
    if as_json:
        print_document(document)
    else:
        print_erasures(document, console)
    raise typer.Exit(SOMETHING_PENDING if document.pending else NOTHING_WRONG)


@app.command()
def prove(
    who: Who,
    name: Annotated[
        str | None,
        typer.Option(
            "--list",
            metavar="LIST",
            autocompletion=complete_list,
            help="Only this list, like newsletter or nord/newsletter.",
        ),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="The end of that day; now by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show on which consent this person was in which list on a day, with the proof, and what has happened since."""
    configuration = load_configuration(whole=False)
    lists = lists_named(configuration, name)
    from campaign_sync.cli.person_document import person_document
    from campaign_sync.cli.prove import find_proofs, print_proof

    day = at.date() if at else None
    if as_json:
        print_document(person_document(find_proofs(configuration, who, lists, day, console_for(as_json)), day))
    else:
        print_proof(configuration, who, lists, day, Terminal())
    if name is None:
        refuse_broken(configuration, "nothing is shown of their lists")


@app.command()
def access(
    who: Who,
    output: Annotated[
        Path | None, typer.Option(help="The folder to write; by default a new one, named by the time.")
    ] = None,
) -> None:
    """Write everything that is stored of this person, as JSON and as a page (Art. 15 GDPR)."""
    configuration = load_configuration(whole=False)
    refuse_broken(configuration, "an answer without their data would be incomplete")
    from campaign_sync.cli.access import write_access

    write_access(configuration, who, output, Terminal())


@app.command("fact-sheet")
def fact_sheet(
    language: Annotated[
        str | None,
        typer.Option(metavar="de|en", help="The language; that of the configuration by default."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; fact-sheet.de.html or fact-sheet.en.html by default.")
    ] = None,
) -> None:
    """Write what the configuration says for the record of processing activities (Art. 30 GDPR), as a page."""
    configuration = load_configuration(whole=False)
    refuse_broken(configuration, "a fact sheet without them would be incomplete")
    from campaign_sync.cli.fact_sheet import write_fact_sheet

    languages: tuple[Language, ...] = get_args(Language)
    chosen = next((known for known in languages if known == (language or configuration.language)), None)
    if chosen is None:
        raise CommandError(f"there is no fact sheet in {language!r}; there is {', '.join(languages)}")
    typer.echo(f"{write_fact_sheet(configuration, chosen, output)} is the fact sheet.")


@app.command()
def inquiries(
    who: Annotated[
        str | None, typer.Argument(metavar="[WHO]", help="Only who asked about this address or record.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How many days back.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show who asked about people, by why, prove, access, erase or diff, and who accepted an exception."""
    from campaign_sync.cli.inquiries import find_inquiries, print_inquiries

    configuration = load_configuration(whole=False)
    document = find_inquiries(configuration, who, days)
    if as_json:
        print_document(document)
    else:
        print_inquiries(document, configuration, Terminal())


@app.command()
def diff(
    mandator: Mandator,
    name: ListName,
    days: Annotated[
        list[datetime] | None,
        typer.Argument(
            metavar="DAY", formats=["%Y-%m-%d"], help="None: the last two proofs. One: that day and the newest."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write all people who joined, left or changed to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show who joined a list, who left it and why, and whose values changed, from one proof to another."""
    configuration = load_configuration(whole=False)
    require_lists(configuration, mandator, [name])
    from campaign_sync.cli.diff import print_difference

    chosen_days = [day.date() for day in days or []]
    document = print_difference(configuration, mandator, name, chosen_days, console_for(as_json), csv)
    if as_json:
        print_document(document)


@app.command()
def report(
    mandator: Mandator,
    language: Annotated[
        str | None, typer.Option(metavar="de|en", help="Only this language; all configured ones by default.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write one language to this file and nowhere else.")] = None,
) -> None:
    """Write the report on a mandator's lists, as they are now, and print where it is."""
    configuration = load_configuration(whole=False)
    require_lists(configuration, mandator)
    from campaign_sync.cli.report import write_report

    write_report(configuration, mandator, _language(configuration, language, output), output, Terminal())


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def demo(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND]…", help="Instead, a command on the demonstration's data, like `why ADDRESS`."
        ),
    ] = None,
    ui: Annotated[bool, typer.Option("--ui", help="Leave sandbox and Dagster's UI running until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="The UI's port.")] = 3000,
    days: Annotated[int, typer.Option(min=1, max=14, help="How many days the first demonstration has.")] = 14,
) -> None:
    """Replace the lists of two invented mandators on this machine: for the last fourteen days, then for another one."""
    from campaign_sync.cli.demo import run_demo, use_demo

    if command:
        with use_demo():
            raise typer.Exit(app(command, standalone_mode=False) or NOTHING_WRONG)
    if ui:
        _require_free(port)
    raise typer.Exit(NOTHING_WRONG if run_demo(Terminal(), port if ui else None, days) else SOMETHING_FAILED)


@app.command()
def dev(context: typer.Context, port: Annotated[int, typer.Option(help="The UI's port.")] = 3000) -> None:
    """Run Dagster on the embedded instance: UI, daemon and schedules, until Ctrl-C."""
    configuration = load_configuration(whole=False)
    _require_free(port)
    refuse_other_revision(configuration)
    from campaign_sync.cli.dagster_instance import EMBEDDED_HOME, refuse_second_daemon, use_instance
    from campaign_sync.cli.dev import dagster_services

    given = os.environ.get("DAGSTER_HOME")
    use_instance(EMBEDDED_HOME)
    if given:
        refuse_second_daemon(given)
    with dagster_services(port, context.obj.log_format) as services:
        raise typer.Exit(services.wait())


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="The port to listen on, on 127.0.0.1.")],
    data: Annotated[Path, typer.Option(help="The file that holds the sandbox's contents.")] = Path(
        ".campaign_sync/sandbox.db"
    ),
) -> None:
    """Run the stand-in for Optimizely Campaign alone, with the mandators and lists in --data; a new file has none."""
    from campaign_sync.sandbox.__main__ import main as serve_sandbox

    serve_sandbox(data, port)


@app.command()
def init(
    crm: Annotated[
        str | None, typer.Option(help="The kind of CRM: sql, files, dataverse, salesforce, or that of an adapter.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the login, such as url=https://…; may be repeated. Credentials are in environment "
            "variables, such as SALESFORCE_CLIENT_ID.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("campaign_sync.yaml"),
) -> None:
    """Ask a CRM for its lists, reports and consents, and write a first configuration to choose from.

    In a terminal it asks for what wasn't given.
    """
    from campaign_sync.cli.init import write_first_configuration
    from campaign_sync.config.crm_adapters import adapter_names

    ask = typer.prompt if sys.stdin.isatty() else None
    kinds = ", ".join(adapter_names())
    if crm is None and ask:
        crm = str(ask(f"The kind of CRM ({kinds})"))
    if crm is None:
        raise CommandError(f"name the kind of CRM by --crm: {kinds}")
    outline = write_first_configuration(crm, settings or [], output, ask)
    consents = "" if outline.opt_ins_in_crm else f"{len(outline.consents)} places of consents and "
    typer.echo(
        f"{output} has {consents}{len(outline.picks)} lists and reports to choose from. Choose, replace what is in "
        "capitals, then: campaign-sync check"
    )


@app.command(context_settings={"ignore_unknown_options": True})  # such as --instance, which belongs to a name
def schema(
    command: Annotated[list[str], typer.Argument(help="The command that prints it, such as: feedback unread")],
) -> None:
    """Print the JSON schema of what a command prints with --json."""
    typer.echo(schema_text(" ".join(command)), nl=False)


@crm_app.command("init")
def crm_init(
    url: Annotated[
        str | None,
        typer.Option(help="SQLAlchemy URL of the CRM database, without a password. By default that in CRM_URL."),
    ] = None,
    url_file: Annotated[Path | None, typer.Option(help="Instead, a file that holds the URL.")] = None,
    responses: Annotated[
        bool, typer.Option("--responses", help="Also the optional tables for opens, clicks and other responses.")
    ] = False,
    exports: Annotated[bool, typer.Option("--exports", help="Also the optional table of finished exports.")] = False,
) -> None:
    """Create the CRM contract's tables where they are missing.

    Every user of a machine sees the arguments of commands, so a password is in CRM_URL, in a file, or typed when asked.
    """
    from campaign_sync.cli.crm_url import read_crm_url
    from campaign_sync.crm.sql.database_errors import URL_SETTING
    from campaign_sync.crm.sql.engine import UnusableUrlError
    from campaign_sync.crm.sql.schema import create_crm

    chosen, source = read_crm_url(url, url_file)
    try:
        create_crm(chosen, responses=responses, exports=exports)
    except UnusableUrlError as error:
        raise CommandError(str(error).replace(URL_SETTING, source)) from None
    typer.echo(f"The CRM contract's tables exist. {manual_page('crm.md')} describes them column by column.")


@crm_app.command("preset")
def crm_preset(
    name: Annotated[str, typer.Argument(help=f"The mapping: {', '.join(PRESETS)}.")],
) -> None:
    """Print a mapping that ships for `crm.preset`, as YAML that `crm.tables` and `crm.write_back` can replace."""
    if name not in PRESETS:
        raise CommandError(f"there is no preset {name}; there are {', '.join(PRESETS)}")
    typer.echo(preset_text(name), nl=False)


@crm_app.command("permission-set")
def crm_permission_set(
    output: Annotated[Path, typer.Option(help="The folder to write.")] = Path("salesforce"),
    person_accounts: Annotated[
        bool, typer.Option("--person-accounts", help="The org has person accounts: what is written is on accounts.")
    ] = False,
    individuals: Annotated[
        bool, typer.Option("--individuals", help="The org has individuals (Setup, Data Protection and Privacy).")
    ] = False,
) -> None:
    """Write the permission set that the configuration needs in Salesforce, as metadata to deploy. Calls nothing."""
    from campaign_sync.cli.permission_set import write_permission_set

    by_hand = write_permission_set(output, person_accounts=person_accounts, individuals=individuals)
    typer.echo(f"{output} has the permission set. Deploy it: sf project deploy start --metadata-dir {output}")
    for path in by_hand:
        typer.echo(f"Not in it, because the object isn't known here: {path}; grant read access to it in Setup.")


@feedback_app.command()
def sample(
    mandator: Mandator,
    days: Annotated[int, typer.Option(min=1, max=30, help="How many days of rows to read, by the vendor's clock.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Show the first rows of the vendor's closed-loop readers, pseudonymized, and guess their layout."""
    configuration = load_configuration(whole=False)
    require_lists(configuration, mandator)
    from campaign_sync.cli.sample import show_sample

    document = show_sample(configuration, mandator, days, console_for(as_json))
    if as_json:
        print_document(document)


@feedback_app.command()
def unread(mandator: Mandator, as_json: AsJson = False) -> None:
    """Show the imports of feedback with rows that can't be read, and why. Exit code 1 if there are any."""
    configuration = load_configuration(whole=False)
    require_lists(configuration, mandator)
    from campaign_sync.cli.unread_rows import find_unread, show_unread

    if as_json:
        document = find_unread(configuration, mandator)
        print_document(document)
        all_read = not document.imports
    else:
        all_read = show_unread(configuration, mandator, Terminal())
    raise typer.Exit(NOTHING_WRONG if all_read else SOMETHING_FAILED)


@feedback_app.command()
def dismiss(
    mandator: Mandator,
    import_id: Annotated[str, typer.Argument(help="The id that `feedback unread` shows, or its beginning.")],
    reason: Annotated[str, typer.Option(help="Why these rows contain no unsubscribe; it is recorded with your name.")],
) -> None:
    """Dismiss rows that can't be read: they aren't reported any more, and stay kept as they came."""
    configuration = load_configuration(whole=False)
    require_lists(configuration, mandator)
    if not reason.strip():
        raise CommandError("--reason is empty; say why these rows contain no unsubscribe")
    from campaign_sync.cli.unread_rows import dismiss_unread

    dismiss_unread(configuration, mandator, import_id, reason.strip(), Terminal())


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the configuration file, for editors."""
    typer.echo(json.dumps(configuration_schema(), indent=2, ensure_ascii=False))


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise CommandError(f"port {port} is in use; choose another with --port")


def _language(configuration: Configuration, language: str | None, output: Path | None) -> Language | None:
    known: tuple[Language, ...] = get_args(Language) if output else configuration.reports.languages
    chosen = next((candidate for candidate in known if candidate == language), None)
    if language and chosen is None:
        available = ", ".join(known) or "none, see reports.languages"
        raise CommandError(f"there is no report in {language!r}; there is {available}")
    return chosen
