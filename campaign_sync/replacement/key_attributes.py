"""The names under which the vendor gives out the ids and addresses of a list's recipients.

These names aren't documented, and `getAttributeNames` needn't have them. So likely names are read of a few recipients,
and a name counts only if its values are ids, or addresses, that we know.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pandas as pd

from campaign_sync.domain.address import usable_address
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID
from campaign_sync.optimizely.client import Optimizely
from campaign_sync.optimizely.errors import RefusedError, TransientError, UnknownFaultError
from campaign_sync.replacement.list_settings import ListSettings
from campaign_sync.replacement.read_columns import ReadColumns

ID_NAMES = ("Recipient", "recipientId", "Recipient ID", "bmRecipientId", "Empfänger", "Empfänger-ID")
"""What recipient ids may be called: in the vendor's interfaces, and on its pages in English and German."""

ADDRESS_NAMES = ("email", "E-Mail", "E-Mail-Adresse", "Email address", "emailAddress")
"""What addresses may be called."""

LOCALES = ("en", "de")
"""Languages in which the list is asked for the names of its attributes."""

SAMPLE_ROWS = 50
"""Of how many recipients the names are read."""

Known = Callable[[Sequence[str]], int]
"""Counts the texts that are recipient ids, or addresses, that are known."""


def find_read_columns(
    settings: ListSettings, vendor: Optimizely, rows: pd.DataFrame, earlier: ReadColumns | None = None
) -> ReadColumns:
    """Return the columns by which the list can be read back now.

    A name counts if most of its values are among `rows`: the list may hold other people, or lack some. Where the
    configuration names the attribute for ids, that name is taken.

    Args:
        settings: the list.
        vendor: the mandator's API session.
        rows: a snapshot.
        earlier: the columns that were found before; tried first.
    """

    def known(column: str) -> Known:
        def count(texts: Sequence[str]) -> int:
            addresses = [address for address in map(usable_address, texts) if address]
            in_rows = set(rows[column][rows[column].isin(addresses)])
            return sum(address in in_rows for address in addresses)

        return count

    return search_read_columns(settings, vendor, known(RECIPIENT_ID), known(ADDRESS), earlier)


def search_read_columns(
    settings: ListSettings, vendor: Optimizely, is_id: Known, is_address: Known, earlier: ReadColumns | None = None
) -> ReadColumns:
    """Return the columns as `find_read_columns` does, with other ways to recognize ids and addresses."""
    configured = settings.recipient_list.id_attribute

    def search(ids: Sequence[str], addresses: Sequence[str]) -> ReadColumns:
        ids, addresses = (_not_sent(settings, names) for names in (ids, addresses))
        values = _read(settings, vendor, list(dict.fromkeys([*ids, *addresses])))
        return ReadColumns(
            settings,
            configured or next((name for name in ids if _most(values.get(name), is_id)), None),
            next((name for name in addresses if _most(values.get(name), is_address)), None),
        )

    if earlier and earlier.id_attribute and earlier.address_attribute:
        columns = search([earlier.id_attribute], [earlier.address_attribute])
        if columns.is_complete:
            return columns
    columns = search(ID_NAMES, ADDRESS_NAMES)
    list_id = settings.recipient_list_id
    if columns.is_complete or not vendor.recipients.count(list_id):
        return columns
    named = [name for locale in LOCALES for name in vendor.recipient_lists.attribute_names(list_id, locale)]
    listed = search(_alike(named, ID_NAMES), _alike(named, ADDRESS_NAMES))
    return replace(
        columns,
        id_attribute=columns.id_attribute or listed.id_attribute,
        address_attribute=columns.address_attribute or listed.address_attribute,
    )


def _not_sent(settings: ListSettings, names: Iterable[str]) -> list[str]:
    """Return the names without the attributes that we send: we wrote their values ourselves."""
    return [name for name in dict.fromkeys(names) if name not in settings.schema.list_attributes]


def _alike(names: Iterable[str], known: Iterable[str]) -> list[str]:
    plain = {_plain(name) for name in known}
    return [name for name in names if _plain(name) in plain]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _most(values: Sequence[str] | None, known: Known) -> bool:
    return values is not None and 2 * known(values) > len(values)


def _read(settings: ListSettings, vendor: Optimizely, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of a few recipients by name; empty where the list is empty or the vendor takes no such name.

    The vendor may answer nothing, or a fault, for a name that it doesn't know: then each name is tried alone.
    """
    if not names:
        return {}
    try:
        page = vendor.recipients.page(settings.recipient_list_id, names, None, 0, SAMPLE_ROWS)
    except (RefusedError, UnknownFaultError, TransientError) as error:
        if len(names) == 1 or isinstance(error, TransientError):  # that was tried several times already
            return {}
        return {name: values for single in names for name, values in _read(settings, vendor, [single]).items()}
    if not page:
        return {}
    return {name: [row[position] or "" for row in page] for position, name in enumerate(names)}
