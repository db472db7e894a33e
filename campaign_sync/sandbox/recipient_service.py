"""RecipientWebservice: the recipients of a list, and the rules for adding them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from campaign_sync.sandbox.caller import SYSTEM_ATTRIBUTES, Caller, RecipientList
from campaign_sync.sandbox.stored_attributes import Layouts, layout, layouts, packed, parts, unpacked
from campaign_sync.sandbox.vendor_state import blocked_patterns, blocklist

MAX_RECIPIENTS = 1000
"""The most recipients of one `addAll3`."""

_QUERY_ROWS = 5000
"""The most recipients of one query."""

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_READ_ONLY = {name for names in SYSTEM_ATTRIBUTES.values() for name in names}
_CREATED = {"Erstellt am", "Created on", "Geändert am", "Modified on"}


def add_all(
    caller: Caller,
    recipient_list: RecipientList,
    optin_process_id: int,
    ids: Sequence[str | None],
    addresses: Sequence[str | None],
    names: Sequence[str],
    values: Sequence[Sequence[str | None] | None],
) -> list[int]:
    """Add recipients, and return a code for each.

    0 added, 1 invalid, 2 unsubscribed, 3 on the blocklist, 4 over the bounce limit, 5 already in the list, 6 filtered,
    7 error. The second occurrence of a recipient in one call gets 5.
    An opt-in list accepts unsubscribed recipients, which ends their unsubscribe.

    Raises:
        SoapError: the call as a whole is refused, and no recipient was added.
    """
    _check_call(caller, recipient_list, ids, addresses, names, values)
    keys = [(recipient_id or "").lower() for recipient_id in ids]
    present = set(among(caller, keys, "recipient", "list_id", recipient_list.list_id))
    left = unsubscribed(caller, recipient_list, keys)
    bounced = set(among(caller, keys, "bounced", "mandator_id", caller.mandator_id))
    refused = dict(caller.database.execute("SELECT key, code FROM refused WHERE mandator_id = ?", [caller.mandator_id]))
    blocked = blocklist(caller.database, caller.mandator_id)

    def code(key: str, address: str) -> int:
        if not key or not _ADDRESS.fullmatch(address):
            return 1
        if key in present:
            return 5
        if blocked(address):
            return 3
        if key in left and not recipient_list.opt_in_list:
            return 2
        if key in bounced:
            return 4
        return int(refused.get(key, 0))

    codes, added, layout_id = [], [], layout(caller.database, names)
    for key, recipient_id, address, row in zip(keys, ids, addresses, values, strict=True):
        codes.append(code(key, address or ""))
        if codes[-1] == 0:
            present.add(key)
            encoded = packed(layout_id, names, row or ())
            added.append((recipient_list.list_id, key, recipient_id, address, encoded, caller.now))
    caller.database.executemany(
        "INSERT INTO recipient (list_id, key, id, address, attributes, created_at) VALUES (?, ?, ?, ?, ?, ?)", added
    )
    if recipient_list.opt_in_list:
        back = [(caller.mandator_id, key) for key, code in zip(keys, codes, strict=True) if code == 0]
        caller.database.executemany("DELETE FROM unsubscribed WHERE mandator_id = ? AND key = ?", back)
        of_list = [(recipient_list.list_id, key) for _, key in back]
        caller.database.executemany("DELETE FROM list_unsubscribed WHERE list_id = ? AND key = ?", of_list)
    return codes


def unsubscribed(caller: Caller, recipient_list: RecipientList, keys: Sequence[str]) -> set[str]:
    """Return the keys that are on the client's unsubscribe list, or on this recipient list's own."""
    of_client = among(caller, keys, "unsubscribed", "mandator_id", caller.mandator_id)
    return {*of_client, *among(caller, keys, "list_unsubscribed", "list_id", recipient_list.list_id)}


def _check_call(
    caller: Caller,
    recipient_list: RecipientList,
    ids: Sequence[str | None],
    addresses: Sequence[str | None],
    names: Sequence[str],
    values: Sequence[Sequence[str | None] | None],
) -> None:
    call = {"recipientListId": recipient_list.list_id, "recipientIds": ids, "addresses": addresses}
    if len(ids) > MAX_RECIPIENTS:
        raise caller.fault(f"Too many recipients ({len(ids)}, at most {MAX_RECIPIENTS})", **call)
    if not len(ids) == len(addresses) == len(values):
        raise caller.fault(f"Array lengths differ ({len(ids)}, {len(addresses)}, {len(values)})", **call)
    _check_attributes(caller, recipient_list, names, call)
    for row in values:
        if row is None or len(row) != len(names):
            raise caller.fault("Number of attribute values does not match attribute names", **call, row=row)


def _check_attributes(
    caller: Caller, recipient_list: RecipientList, names: Sequence[str], call: Mapping[str, object]
) -> None:
    for name in names:
        if name in _READ_ONLY:
            raise caller.fault(f"Attribute '{name}' is read-only", **call)
        if name not in recipient_list.attributes:
            raise caller.fault(f"Unknown attribute '{name}'", **call)


def among(caller: Caller, keys: Sequence[str], table: str, owner: str, owner_id: int) -> list[str]:
    """Return the keys that a table holds for its owner."""
    rows = caller.database.execute(
        f"SELECT key FROM {table} WHERE {owner} = ? AND key IN (SELECT value FROM json_each(?))",  # noqa: S608 - ours
        [owner_id, json.dumps(keys)],
    )
    return [key for (key,) in rows]


def clear(caller: Caller, recipient_list: RecipientList) -> None:
    """Remove all recipients from the list."""
    caller.database.execute("DELETE FROM recipient WHERE list_id = ?", [recipient_list.list_id])


def contains(caller: Caller, recipient_list: RecipientList, recipient_id: str) -> bool:
    """Return whether a recipient is in the list."""
    return bool(among(caller, [recipient_id.lower()], "recipient", "list_id", recipient_list.list_id))


def count(caller: Caller, recipient_list: RecipientList, filter_id: int) -> int:
    """Return the number of recipients in the list. The only filter (target group) is 0, for all."""
    _check_filter(caller, filter_id)
    query = "SELECT count(*) FROM recipient WHERE list_id = ?"
    return int(caller.database.execute(query, [recipient_list.list_id]).fetchone()[0])


def get_all(caller: Caller, recipient_list: RecipientList, names: Sequence[str]) -> list[list[str | None]]:
    """Return the attributes of all recipients, in the order of insertion."""
    return page(caller, recipient_list, names, 0, None, ascending=True, start_row=0, rows=-1)


def page(
    caller: Caller,
    recipient_list: RecipientList,
    names: Sequence[str],
    filter_id: int,
    order_by: str | None,
    ascending: bool,
    start_row: int,
    rows: int,
) -> list[list[str | None]]:
    """Return the attributes of `rows` recipients from row `start_row` (from 0) on.

    `Recipient` is the recipient id and `email` the address; an attribute that the list doesn't have is null.
    """
    _check_filter(caller, filter_id)
    positions = caller.orders.positions(caller.database, recipient_list.list_id, order_by, ascending)
    start, end = max(start_row, 0), len(positions) if rows < 0 else max(start_row, 0) + rows
    table: list[list[str | None]] = []
    for first in range(start, min(end, len(positions)), _QUERY_ROWS):
        part = positions[first : min(first + _QUERY_ROWS, end)]
        stored = caller.database.execute(
            "SELECT recipient.id, address, attributes, created_at FROM json_each(?) AS wanted "
            "CROSS JOIN recipient ON recipient.position = wanted.value ORDER BY wanted.key",
            [json.dumps(part.tolist())],
        )
        table += attribute_rows(stored, names, layouts(caller.database))
    return table


def attribute_rows(
    stored: Iterable[tuple[str, str, str, float]], names: Sequence[str], known: Layouts
) -> list[list[str | None]]:
    """Decode stored recipients into rows of attributes, in the order of `names`."""
    table: list[list[str | None]] = []
    places: dict[str, list[int]] = {}
    for recipient_id, address, kept, created_at in stored:
        created, values = _moment(created_at), parts(kept)
        if values is None:
            row = {"Recipient": recipient_id, "email": address} | unpacked(kept, known)
            row |= dict.fromkeys(_CREATED, created)
            table.append([row.get(name) for name in names])
        else:
            cells = [*values, recipient_id, address, created, None]
            layout_id = values[0]
            if layout_id not in places:
                places[layout_id] = _places(known[layout_id], names)
            table.append([cells[place] for place in places[layout_id]])
    return table


def _places(attributes: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the positions of names in a row of layout number, attributes, id, address, creation and None."""
    after = len(attributes) + 1
    where = {"Recipient": after, "email": after + 1}
    where |= {name: place for place, name in enumerate(attributes, start=1)}
    where |= dict.fromkeys(_CREATED, after + 2)
    return [where.get(name, after + 3) for name in names]


@lru_cache(maxsize=4096)
def _moment(created_at: float) -> str:
    return datetime.fromtimestamp(created_at, UTC).isoformat(timespec="seconds")


def attributes_of(
    caller: Caller, recipient_list: RecipientList, recipient_id: str, names: Sequence[str]
) -> list[str | None]:
    """Return the attributes of one recipient; fault if the list doesn't hold it."""
    attributes = _stored(caller, recipient_list, recipient_id)
    return [attributes.get(name) for name in names]


def set_attributes(
    caller: Caller,
    recipient_list: RecipientList,
    recipient_id: str,
    names: Sequence[str],
    values: Sequence[str | None],
) -> None:
    """Overwrite attributes of one recipient and keep the others; fault if the list doesn't hold it."""
    call = {"recipientListId": recipient_list.list_id, "recipientId": recipient_id, "attributeValues": values}
    attributes = _stored(caller, recipient_list, recipient_id)
    _check_attributes(caller, recipient_list, names, call)
    if len(names) != len(values):
        raise caller.fault("Number of attribute values does not match attribute names", **call)
    attributes |= dict(zip(names, values, strict=True))
    caller.database.execute(
        "UPDATE recipient SET attributes = ? WHERE list_id = ? AND key = ?",
        [json.dumps(attributes), recipient_list.list_id, recipient_id.lower()],
    )


def _stored(caller: Caller, recipient_list: RecipientList, recipient_id: str) -> dict[str, str | None]:
    stored = caller.database.execute(
        "SELECT attributes FROM recipient WHERE list_id = ? AND key = ?", [recipient_list.list_id, recipient_id.lower()]
    ).fetchone()
    if stored is None:  # the vendor's spelling
        raise caller.fault(
            "Recipient does not exists", recipientListId=recipient_list.list_id, recipientId=recipient_id
        )
    return unpacked(stored[0], layouts(caller.database))


def remove(caller: Caller, recipient_list: RecipientList, recipient_id: str) -> None:
    """Remove one recipient; fault if the list doesn't hold it."""
    if not remove_all(caller, recipient_list, [recipient_id])[0]:
        raise caller.fault("Recipient does not exist", recipientListId=recipient_list.list_id, recipientId=recipient_id)


def remove_all(caller: Caller, recipient_list: RecipientList, ids: Sequence[str]) -> list[bool]:
    """Remove recipients, and return for each whether it was in the list."""
    statement = "DELETE FROM recipient WHERE list_id = ? AND key = ?"
    return [
        caller.database.execute(statement, [recipient_list.list_id, recipient_id.lower()]).rowcount == 1
        for recipient_id in ids
    ]


def remove_unsubscribed(caller: Caller, recipient_list: RecipientList) -> int:
    """Remove and count the recipients who unsubscribed from everything or from this list."""
    of_list = caller.database.execute(
        "DELETE FROM recipient WHERE list_id = ? AND key IN (SELECT key FROM list_unsubscribed WHERE list_id = ?)",
        [recipient_list.list_id, recipient_list.list_id],
    ).rowcount
    return of_list + _remove_known_to(caller, recipient_list, "unsubscribed")


def remove_bounced(caller: Caller, recipient_list: RecipientList) -> int:
    """Remove and count the recipients over the bounce limit."""
    return _remove_known_to(caller, recipient_list, "bounced")


def remove_blacklisted(caller: Caller, recipient_list: RecipientList) -> int:
    """Remove and count the recipients on the blocklist."""
    if not blocked_patterns(caller.database, caller.mandator_id):
        return 0
    blocked = blocklist(caller.database, caller.mandator_id)
    rows = caller.database.execute(
        "SELECT address, position FROM recipient WHERE list_id = ?", [recipient_list.list_id]
    )
    positions = [(position,) for address, position in rows.fetchall() if blocked(address)]
    caller.database.executemany("DELETE FROM recipient WHERE position = ?", positions)
    return len(positions)


def _remove_known_to(caller: Caller, recipient_list: RecipientList, table: str) -> int:
    return caller.database.execute(
        f"DELETE FROM recipient WHERE list_id = ? AND key IN (SELECT key FROM {table} WHERE mandator_id = ?)",  # noqa: S608 - one of our own tables
        [recipient_list.list_id, caller.mandator_id],
    ).rowcount


def _check_filter(caller: Caller, filter_id: int) -> None:
    if filter_id != 0:
        raise caller.fault("Recipient filter does not exist", recipientFilterId=filter_id)
