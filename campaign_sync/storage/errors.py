"""Errors of the state database: `StateError`, and `RevisionError` below it."""


class StateError(Exception):
    """The state database can't be used. The message names it without its password, and the remedy, but no data."""


class RevisionError(StateError):
    """The tables belong to another version of the product. Retrying doesn't help."""
