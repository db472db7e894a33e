"""`campaign-sync db`: commands for the product's own tables, which are upgraded only on request."""

import typer

from campaign_sync.cli.common_options import CommandGroup
from campaign_sync.cli.error_handling import NOTHING_WRONG, SOMETHING_FAILED, CommandError
from campaign_sync.config import Configuration, load_configuration

db_app = CommandGroup(help="The product's own tables, in the database storage.state_url.", no_args_is_help=True)


@db_app.command()
def upgrade() -> None:
    """Upgrade the tables to the revision of this version, or create them. Back the database up first."""
    from campaign_sync.storage.database import upgrade_database

    before, after = upgrade_database(load_configuration(whole=False).storage.state_url.get_secret_value())
    if before == after:
        typer.echo(f"The state database is at revision {after} already; nothing was changed.")
    elif before is None:
        typer.echo(f"The tables of the state database were created, at revision {after}.")
    else:
        typer.echo(f"The state database was upgraded from revision {before} to {after}.")


@db_app.command()
def check() -> None:
    """Check whether the tables are those of this version; exit code 1 where they aren't. Changes nothing."""
    from campaign_sync.storage.database import READY, examine_database, probe_database

    url = load_configuration(whole=False).storage.state_url.get_secret_value()
    status = probe_database(url)
    if status != READY:
        typer.echo(f"{status}, or now by `campaign-sync db upgrade`")
        raise typer.Exit(SOMETHING_FAILED)
    differences = examine_database(url)
    if differences:
        raise CommandError(
            f"the tables of the state database (storage.state_url) aren't those of their revision: "
            f"{'; '.join(differences)}; undo the changes to them, or restore a backup",
            SOMETHING_FAILED,
        )
    typer.echo("The state database has the tables of this version.")
    raise typer.Exit(NOTHING_WRONG)


def refuse_other_revision(configuration: Configuration) -> None:
    """Raise RevisionError if the tables belong to another version, before anything is begun.

    A database that can't be reached or doesn't exist yet is no error here: the command that needs it will report it.
    """
    from campaign_sync.storage.database import probe_database
    from campaign_sync.storage.errors import RevisionError, StateError

    try:
        probe_database(configuration.storage.state_url.get_secret_value())
    except RevisionError:
        raise
    except StateError:
        return
