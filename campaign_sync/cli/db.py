"""`campaign-sync db`: the product's own tables are upgraded when somebody says so, never in passing."""

import typer

from campaign_sync.cli.error_handling import NOTHING_WRONG, SOMETHING_FAILED, CommandError
from campaign_sync.config import Configuration, load_configuration

db_app = typer.Typer(help="The product's own tables, in the database storage.state_url.", no_args_is_help=True)


@db_app.command()
def upgrade() -> None:
    """Bring the tables to the revision of this version, or make them. Back the database up first."""
    from campaign_sync.storage.database import upgrade_database

    before, after = upgrade_database(load_configuration().storage.state_url.get_secret_value())
    if before == after:
        typer.echo(f"The state database is at revision {after} already; nothing was changed.")
    elif before is None:
        typer.echo(f"The state database has got its tables, at revision {after}.")
    else:
        typer.echo(f"The state database was upgraded from revision {before} to {after}.")


@db_app.command()
def check() -> None:
    """Tell whether the tables are those of this version; exit code 1 where they aren't. Changes nothing."""
    from campaign_sync.storage.database import READY, examine_database, probe_database

    url = load_configuration().storage.state_url.get_secret_value()
    found = probe_database(url)
    if found != READY:
        typer.echo(f"{found}, or now by `campaign-sync db upgrade`")
        raise typer.Exit(SOMETHING_FAILED)
    differences = examine_database(url)
    if differences:
        raise CommandError(
            f"the tables of the state database (storage.state_url) aren't those of their revision: "
            f"{'; '.join(differences)}; undo what somebody changed in them, or restore a backup",
            SOMETHING_FAILED,
        )
    typer.echo("The state database has the tables of this version.")
    raise typer.Exit(NOTHING_WRONG)


def refuse_other_revision(configuration: Configuration) -> None:
    """Stop before anything is begun where the tables are those of another version.

    A database that is down or not there yet doesn't stop anybody here: whoever needs it will tell.

    Raises:
        RevisionError: they are.
    """
    from campaign_sync.storage.database import probe_database
    from campaign_sync.storage.errors import RevisionError, StateError

    try:
        probe_database(configuration.storage.state_url.get_secret_value())
    except RevisionError:
        raise
    except StateError:
        return
