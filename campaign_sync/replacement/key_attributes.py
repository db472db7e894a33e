"""Under which names the vendor gives out the ids and addresses of a list's recipients.

Nobody documents these names, and `getAttributeNames` needn't have them. So names that are likely are read of a few
recipients, and one is taken for what it seems only if what it holds are ids, or addresses, that we know.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pandas as pd

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, TransientError, UnknownFaultError
from campaign_sync.replacement.target import Target

ID_NAMES = ("Recipient", "recipientId", "Recipient ID", "bmRecipientId", "Empfänger", "Empfänger-ID")
"""What recipient ids may be called: in the vendor's interfaces, and on its pages in English and German."""

ADDRESS_NAMES = ("email", "E-Mail", "E-Mail-Adresse", "Email address", "emailAddress")
"""What addresses may be called."""

LOCALES = ("en", "de")
"""Languages in which the list is asked for the names of its attributes."""

SAMPLE_ROWS = 50
"""Of how many recipients the names are read."""

Known = Callable[[Sequence[str]], int]
"""How many of some texts are recipient ids, or addresses, that are known."""


def with_key_attributes(target: Target, vendor: Optimizely, rows: pd.DataFrame) -> Target:
    """The target with the names under which its list gives out ids and addresses now; None where it gives none.

    A name counts if most of the recipients that it is read of are among `rows`: the list may hold others, or lack one.
    Where the configuration names the one for ids, that is it.
    """

    def known(column: str) -> Known:
        return lambda texts: int(
            pd.Series([usable_address(one) for one in texts], dtype="str").isin(rows[column]).sum()
        )

    return find_key_attributes(target, vendor, known(RECIPIENT_ID), known(ADDRESS))


def find_key_attributes(target: Target, vendor: Optimizely, is_id: Known, is_address: Known) -> Target:
    """As `with_key_attributes`, where ids and addresses are known in another way."""
    configured = target.id_attribute if target.id_attribute_configured else None

    def search(ids: Sequence[str], addresses: Sequence[str]) -> Target:
        ids, addresses = (_foreign(target, names) for names in (ids, addresses))
        columns = _read(target, vendor, list(dict.fromkeys([*ids, *addresses])))
        return replace(
            target,
            id_attribute=configured or next((one for one in ids if _most(columns.get(one), is_id)), None),
            address_attribute=next((one for one in addresses if _most(columns.get(one), is_address)), None),
        )

    if target.id_attribute and target.address_attribute:
        found = search([target.id_attribute], [target.address_attribute])
        if _complete(found):
            return found
    found = search(ID_NAMES, ADDRESS_NAMES)
    if _complete(found) or not vendor.recipients.count(target.recipient_list_id):
        return found
    named = [
        name for locale in LOCALES for name in vendor.recipient_lists.attribute_names(target.recipient_list_id, locale)
    ]
    listed = search(_alike(named, ID_NAMES), _alike(named, ADDRESS_NAMES))
    return replace(
        found,
        id_attribute=found.id_attribute or listed.id_attribute,
        address_attribute=found.address_attribute or listed.address_attribute,
    )


def _complete(target: Target) -> bool:
    return target.id_attribute is not None and target.address_attribute is not None


def _foreign(target: Target, names: Iterable[str]) -> list[str]:
    """Without the attributes that are ours to write: what they hold, we have put there."""
    return [name for name in dict.fromkeys(names) if name not in target.contract.list_attributes]


def _alike(names: Iterable[str], known: Iterable[str]) -> list[str]:
    plain = {_plain(name) for name in known}
    return [name for name in names if _plain(name) in plain]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _most(values: Sequence[str] | None, known: Known) -> bool:
    return values is not None and 2 * known(values) > len(values)


def _read(target: Target, vendor: Optimizely, names: Sequence[str]) -> dict[str, list[str]]:
    """What some recipients have under these names; nothing where the list is empty, or the vendor takes no such name.

    It may have nothing, or a fault, for a name that it doesn't know: then each is tried alone.
    """
    if not names:
        return {}
    try:
        page = vendor.recipients.page(target.recipient_list_id, names, None, 0, SAMPLE_ROWS)
    except (RefusedError, UnknownFaultError, TransientError) as error:
        if len(names) == 1 or isinstance(error, TransientError):  # that was tried several times already
            return {}
        return {name: values for one in names for name, values in _read(target, vendor, [one]).items()}
    if not page:
        return {}
    return {name: [row[position] or "" for row in page] for position, name in enumerate(names)}
