"""The way in: a connection to one mandator of Optimizely Campaign."""

from collections.abc import Iterator
from contextlib import contextmanager

from campaign_sync.optimizely.concurrency import ConcurrencyLimiter
from campaign_sync.optimizely.services import Blacklist, ClosedLoop, Mailings, RecipientLists, Recipients, Unsubscribes
from campaign_sync.optimizely.session import Session
from campaign_sync.optimizely.transport import Transport

_SLOW = 0.5
"""An answer that takes this share of the time that there is for one tells that the vendor has too much to do."""


class Optimizely:
    """The vendor's services, as one logged-in mandator sees them. Safe to use from many threads at once."""

    def __init__(self, session: Session):
        self.mandator_id = session.mandator_id
        self.pace = session.pace
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
    """Log in to a mandator, and out again at the end, whatever happens in between.

    Args:
        base_url: the URL before `/Rpc<Service>`, as `https://api.campaign.episerver.net/soap11`.
        mandator_id: the vendor's id of the client.
        username: a user with the right INTERFACE_WEBSERVICE.
        password: the user's password.
        parallel_calls: how many calls may be made at once; the vendor allows 40 per mandator.
        timeout_seconds: how long to wait for one answer.
        ca_file: a PEM file with the only CAs to be trusted; by default those that every browser trusts.

    Raises:
        CredentialsError: the vendor doesn't let the user in.
        TransientError: the vendor can't be reached.
    """
    transport = Transport(base_url, parallel_calls=parallel_calls, timeout_seconds=timeout_seconds, ca_file=ca_file)
    pace = ConcurrencyLimiter(parallel_calls, timeout_seconds * _SLOW)
    session = Session(transport, mandator_id, username, password, pace)
    try:
        session.open()
        yield Optimizely(session)
    finally:
        session.close()
