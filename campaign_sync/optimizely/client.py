"""The client: a connection to one mandator of Optimizely Campaign."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from campaign_sync.config import Configuration
from campaign_sync.optimizely.concurrency import ConcurrencyLimiter
from campaign_sync.optimizely.services import Blacklist, ClosedLoop, Mailings, RecipientLists, Recipients, Unsubscribes
from campaign_sync.optimizely.session import Session

_SLOW_SHARE = 0.5
"""An answer that takes this share of the timeout counts as a sign that the vendor is overloaded."""


class Optimizely:
    """The web services for one logged-in mandator. Safe to use from many threads at once."""

    def __init__(self, session: Session):
        self.mandator_id = session.mandator_id
        self.limiter = session.limiter
        self.recipient_lists = RecipientLists(session)
        self.recipients = Recipients(session, self.recipient_lists)
        self.unsubscribes = Unsubscribes(session)
        self.blacklist = Blacklist(session)
        self.closed_loop = ClosedLoop(session)
        self.mailings = Mailings(session)


@contextmanager
def connect(
    base_url: str,
    mandator_id: int,
    username: str,
    password: str,
    *,
    parallel_calls: int = 4,
    timeout_seconds: float = 180,
    ca_file: str | None = None,
) -> Iterator[Optimizely]:
    """Log in to a mandator, and log out at the end, also after an error.

    Args:
        base_url: the URL before `/Rpc<Service>`, as `https://api.campaign.episerver.net/soap11`.
        mandator_id: the vendor's id of the client.
        username: a user with the right INTERFACE_WEBSERVICE.
        password: the user's password.
        parallel_calls: the most simultaneous calls; the vendor allows 40 per mandator.
        timeout_seconds: the limit for one answer.
        ca_file: a PEM file with the only CAs to trust; by default those that browsers trust.

    Raises:
        CredentialsError: the vendor rejects the user.
        TransientError: the vendor can't be reached.
    """
    from campaign_sync.optimizely.transport import Transport  # requests is for calls alone

    transport = Transport(base_url, parallel_calls=parallel_calls, timeout_seconds=timeout_seconds, ca_file=ca_file)
    limiter = ConcurrencyLimiter(parallel_calls, timeout_seconds * _SLOW_SHARE)
    session = Session(transport, mandator_id, username, password, limiter)
    try:
        session.open()
        yield Optimizely(session)
    finally:
        session.close()


def connect_mandator(configuration: Configuration, mandator: str) -> AbstractContextManager[Optimizely]:
    """Log in to a mandator of the configuration as `connect` does, with the secrets of this mandator only.

    Raises:
        CredentialsError: the vendor rejects the user.
        TransientError: the vendor can't be reached.
        UnavailableError: a secret can't be read.
    """
    settings, optimizely = configuration.mandators[mandator], configuration.optimizely
    return connect(
        optimizely.base_url,
        settings.mandator_id,
        settings.username.get_secret_value(),
        settings.password.get_secret_value(),
        parallel_calls=optimizely.parallel_calls,
        timeout_seconds=optimizely.timeout_seconds,
        ca_file=optimizely.ca_file,
    )
