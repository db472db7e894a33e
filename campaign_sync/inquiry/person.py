"""Whom a question at the terminal is about."""

from dataclasses import dataclass

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.address import InvalidAddressError, normalize_address
from campaign_sync.domain.entity import Entity


@dataclass(frozen=True)
class Asked:
    """Whom a question is about: everybody with an address (in the one spelling we use), or one record of the CRM."""

    address: str | None
    entity: Entity | None


def understand(who: str) -> Asked:
    """Whom somebody means who typed this.

    Raises:
        CommandError: it is neither an address nor a record.
    """
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


def unknown(who: str, asked: Asked, snapshots: str, *, feedback: bool) -> CommandError:
    """The answer where nobody is known by that name. It doesn't repeat an address.

    Args:
        who: what was typed.
        asked: what was understood.
        snapshots: which ones were searched.
        feedback: whether the vendor's feedback was searched for the address, too.
    """
    if asked.entity:
        return CommandError(
            f"{asked.entity} is neither in the CRM, nor in the ledger, nor in {snapshots}; check how the CRM writes "
            "it, or ask for the address",
            SOMETHING_FAILED,
        )
    nowhere = f"this address is neither in the CRM, nor in {snapshots}"
    try:
        normalize_address(who)
    except InvalidAddressError as error:
        return CommandError(f"{nowhere}, and can't be one: {error}", SOMETHING_FAILED)
    further = ", nor in the vendor's feedback" if feedback else ""
    return CommandError(f"{nowhere}{further}; check how it is written", SOMETHING_FAILED)
