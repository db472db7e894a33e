"""The commands that aren't Dagster's."""

from campaign_sync.cli.commands import main

__all__ = ["main"]
