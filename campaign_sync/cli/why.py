"""Why somebody is in a recipient list or isn't."""

from rich.console import Console

from campaign_sync.cli.boundary import SOMETHING_FAILED, CommandError
from campaign_sync.cli.dossier import print_dossiers
from campaign_sync.cli.inquiry import LOOK_BACK, Asked, Inquiry
from campaign_sync.configuration import Configuration
from campaign_sync.crm.address_key import address_key
from campaign_sync.crm.sql import SqlCrm
from campaign_sync.domain.address import InvalidAddressError, normalize_address
from campaign_sync.domain.entity import Entity
from campaign_sync.state.frames import Frames
from campaign_sync.state.store import State


def tell_why(configuration: Configuration, who: str, console: Console) -> None:
    """Print, for everybody whom `who` names and for every list, whether they are in it, and why.

    Raises:
        CommandError: nobody is known by that name. The message doesn't repeat an address.
    """
    asked = _understand(who)
    crm = SqlCrm(configuration.crm.url.get_secret_value())
    crm.check()
    frames = Frames(configuration.storage.frames)
    with (
        State(configuration.storage.state_url.get_secret_value()) as state,
        crm.snapshot() as snapshot,
        console.status("Looking through CRM, snapshots and ledger"),
    ):
        found = Inquiry(configuration, state, frames, snapshot).dossiers(asked)
    if not found:
        raise CommandError(_unknown(who, asked), SOMETHING_FAILED)
    print_dossiers(found, console)


def _understand(who: str) -> Asked:
    entity = Entity.parse(who)
    if entity:
        return Asked(None, entity)
    # Also what can't be an address: somebody may be in no list because the CRM has nothing better of them.
    address = address_key(who)
    if not address or "@" not in address:
        raise CommandError(
            "WHO is neither an e-mail address nor a record of the CRM; write it like contact:4711", SOMETHING_FAILED
        )
    return Asked(address, None)


def _unknown(who: str, asked: Asked) -> str:
    if asked.entity:
        return (
            f"{asked.entity} is neither in the CRM, nor in the ledger, nor in the last {LOOK_BACK} snapshots of any "
            "list; check how the CRM writes it, or ask for the address"
        )
    nowhere = f"this address is neither in the CRM, nor in the last {LOOK_BACK} snapshots of any list"
    try:
        normalize_address(who)
    except InvalidAddressError as error:
        return f"{nowhere}, and can't be one: {error}"
    return f"{nowhere}, nor in the vendor's feedback; check how it is written"
