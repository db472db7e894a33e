"""The URL of `campaign-sync crm init`, which may have a password in it."""

import os
import sys
from pathlib import Path

import typer

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.config.database_url import DatabaseUrlError, read_database_url

VARIABLE = "CRM_URL"


def read_crm_url(url: str | None, file: Path | None) -> tuple[str, str]:
    """Return the URL, and where it came from: the argument, a file, a variable, or the terminal, unseen.

    Raises:
        CommandError: there is none, or the argument has a password in it.
    """
    if url is not None and file is not None:
        raise CommandError("--url and --url-file exclude each other; leave one of them out")
    if url is not None:
        if _has_password(url):
            raise CommandError(
                f"--url has a password in it, which every user of this machine can see; put the URL into {VARIABLE} or "
                "a file (--url-file), and change the password if others use this machine"
            )
        return url, "--url"
    if file is not None:
        return file.read_text(encoding="utf-8").strip(), "--url-file"
    if given := os.environ.get(VARIABLE):
        return given, VARIABLE
    if sys.stdin.isatty():
        return str(typer.prompt("URL of the CRM database", hide_input=True)), "the URL"
    raise CommandError(f"name the CRM's database by {VARIABLE}, --url-file, or --url if it has no password")


def _has_password(url: str) -> bool:
    """Return whether a URL has a password; one that can't be read may have."""
    try:
        return read_database_url(url).password is not None
    except DatabaseUrlError:
        return "@" in url
