"""The terminal: arguments in, tables and exit codes out. The commands that aren't Dagster's.

Each command parses its arguments, calls the packages below, and prints what they return. Not here: answers about people
and lists (`inquiry`), and anything that decides.
"""

from campaign_sync.cli.commands import main

__all__ = ["main"]
