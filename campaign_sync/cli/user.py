"""The person who runs a command, for what is recorded with their name."""

from getpass import getuser
from socket import gethostname


def user_and_host() -> str:
    """Return the user's name and the host's, as `user@host`."""
    return f"{getuser()}@{gethostname()}"
