"""What can be wrong with the state database."""


class StateError(Exception):
    """The state database can't be used. The message names it without its password, and the remedy; nobody's data."""


class RevisionError(StateError):
    """The tables are those of another version of the product. Trying again changes nothing."""
