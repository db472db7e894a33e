"""The vendor's web services: the handler of calls, with simulated faults."""

import json
import secrets
import sqlite3
from collections.abc import Callable, Sequence

from campaign_sync.errors import CampaignSyncError
from campaign_sync.sandbox import mailing_service, recipient_service
from campaign_sync.sandbox.axis_messages import Request, SoapError, Value, answer, parse
from campaign_sync.sandbox.caller import DEFAULT_LOCALE, SYSTEM_ATTRIBUTES, Caller, RecipientList
from campaign_sync.sandbox.vendor_state import RecordedCall, VendorState, blocklist

SESSION_SECONDS = 20 * 60
"""The lifetime of a session after its login, whatever its use."""

MAX_ROWS = 1000
"""The most rows that a closed-loop reader returns."""

VERSION = "1.18"

_COLUMNS = {
    "de": ["ID", "Name", "Beschreibung", "Testliste", "Attribute"],
    "en": ["ID", "Name", "Description", "Test list", "Attributes"],
}
_COUNTED = ("recipientIds", "addresses", "entries")


class ConnectionDroppedError(CampaignSyncError):
    """The call was carried out, but its answer is to be lost, or truncated (`unfinished`)."""

    def __init__(self, unfinished: bytes = b"") -> None:
        super().__init__()
        self.unfinished = unfinished


def handle(state: VendorState, service: str, body: bytes) -> bytes:
    """Carry out one SOAP call to a service.

    Raises:
        SoapError: the answer is a fault.
        ConnectionDroppedError: the connection is to be closed without an answer, or in the middle of it.
    """
    request = parse(service, body)
    arguments = request.arguments
    session_id = arguments.get("sessionId")
    call = _recorded(state, service, request)
    fault = state.record(call)
    if fault and fault.kind == "fault":
        raise SoapError(
            f"WebserviceImplException: [{session_id},{call.mandator_id},?] Internal error for call: {fault.arg or ''}"
        )
    if fault and fault.kind == "delay":
        state.delay(fault)
    if fault and fault.kind == "expire":
        with state.transaction() as database:
            database.execute("DELETE FROM session WHERE session_id = ?", [session_id])
    with state.transaction() as database:
        value = _perform(state, database, service, request)
    if fault and fault.kind == "drop":
        raise ConnectionDroppedError
    answered = answer(service, request.operation, value)
    if fault and fault.kind == "truncate":
        raise ConnectionDroppedError(answered)
    return answered


def _recorded(state: VendorState, service: str, request: Request) -> RecordedCall:
    arguments = request.arguments
    mandator_id = arguments.get("mandatorId")
    if mandator_id is None:
        with state.transaction() as database:
            mandator_id = _mandator_of(database, arguments.get("sessionId"))
    list_id = arguments.get("recipientListId")
    rows = next((len(value) for name in _COUNTED if isinstance(value := arguments.get(name), list)), 0)
    return RecordedCall(service, request.operation.name, mandator_id, list_id, rows)  # type: ignore[arg-type]


def _mandator_of(database: sqlite3.Connection, session_id: Value) -> int | None:
    stored = database.execute("SELECT mandator_id FROM session WHERE session_id = ?", [session_id]).fetchone()
    return stored and int(stored[0])


def _perform(state: VendorState, database: sqlite3.Connection, service: str, request: Request) -> Value:
    name, arguments, now = request.operation.name, dict(request.arguments), state.clock()
    if name == "getVersion":
        return VERSION
    if name == "login":
        return _login(database, now, *arguments.values())
    caller = _enter(state, database, now, str(arguments.pop("sessionId")))
    if "recipientListId" in arguments:
        arguments["recipientListId"] = caller.list_of(arguments["recipientListId"])  # type: ignore[arg-type, assignment]
    for parameter, value in arguments.items():
        if value is None and parameter not in ("orderByAttribute", "reason", "locale"):
            raise SoapError(f'java.lang.NullPointerException: Cannot invoke because "{parameter}" is null')
    return HANDLERS[service, name](caller, *arguments.values())


def _login(database: sqlite3.Connection, now: float, mandator_id: Value, username: Value, password: Value) -> str:
    query = "SELECT 1 FROM mandator WHERE mandator_id = ? AND username = ? AND password = ?"
    if database.execute(query, [mandator_id, username, password]).fetchone() is None:
        raise SoapError("WebserviceImplException: Invalid credentials.")
    database.execute("DELETE FROM session WHERE expires_at <= ?", [now])
    session_id = secrets.token_hex(8)
    row = (session_id, mandator_id, now + SESSION_SECONDS, DEFAULT_LOCALE, "EMAIL")
    database.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?)", row)
    return session_id


def _enter(state: VendorState, database: sqlite3.Connection, now: float, session_id: str) -> Caller:
    stored = database.execute(
        "SELECT mandator_id, username, locale, media_type FROM session JOIN mandator USING (mandator_id) "
        "WHERE session_id = ? AND expires_at > ?",
        [session_id, now],
    ).fetchone()
    if stored is None:
        raise SoapError(f"InvalidWebserviceSessionException: Invalid sessionId: {session_id}")
    return Caller(database, state.orders, now, session_id, *stored)


def _logout(caller: Caller) -> None:
    caller.database.execute("DELETE FROM session WHERE session_id = ?", [caller.session_id])


def _set_locale(caller: Caller, locale: str) -> None:
    caller.database.execute("UPDATE session SET locale = ? WHERE session_id = ?", [locale, caller.session_id])


def _set_media_type(caller: Caller, media_type: str) -> None:
    caller.database.execute("UPDATE session SET media_type = ? WHERE session_id = ?", [media_type, caller.session_id])


def attribute_names(caller: Caller, recipient_list: RecipientList, locale: str | None) -> list[str]:
    """Return the list's own attributes, then the read-only ones of the system."""
    system = SYSTEM_ATTRIBUTES.get(locale or DEFAULT_LOCALE, SYSTEM_ATTRIBUTES[DEFAULT_LOCALE])
    own = [name for name in recipient_list.attributes if name not in system]
    return [*own, *system]


def _column_names(caller: Caller) -> list[str]:
    return _COLUMNS.get(caller.locale, _COLUMNS[DEFAULT_LOCALE])


def _data_set(caller: Caller) -> list[list[str]]:
    rows = [
        [str(item.list_id), item.name, item.description, str(item.test).lower(), str(len(item.attributes))]
        for item in caller.lists()
    ]
    return [_column_names(caller), *rows]


def _count_lists(caller: Caller, include_test: bool) -> int:
    return sum(include_test or not item.test for item in caller.lists())


def _unsubscribe_all(caller: Caller, list_id: int, ids: Sequence[str]) -> None:
    """Unsubscribe from a recipient list with its own unsubscribe list; otherwise, or by 0, from everything."""
    query = "SELECT 1 FROM unsubscribe_list JOIN recipient_list USING (list_id) WHERE list_id = ? AND mandator_id = ?"
    if caller.database.execute(query, [list_id, caller.mandator_id]).fetchone():
        of_list = [(list_id, recipient_id.lower(), recipient_id) for recipient_id in ids]
        caller.database.executemany("INSERT OR IGNORE INTO list_unsubscribed VALUES (?, ?, ?)", of_list)
        return
    rows = [(caller.mandator_id, recipient_id.lower(), recipient_id) for recipient_id in ids]
    caller.database.executemany("INSERT OR IGNORE INTO unsubscribed VALUES (?, ?, ?)", rows)


def _are_unsubscribed(caller: Caller, ids: Sequence[str]) -> list[bool]:
    """Return for each id whether it is on the client's unsubscribe list, or on any recipient list's own."""
    keys = [recipient_id.lower() for recipient_id in ids]
    query = (
        "SELECT key FROM list_unsubscribed JOIN recipient_list USING (list_id) "
        "WHERE mandator_id = ? AND key IN (SELECT value FROM json_each(?))"
    )
    known = set(recipient_service.among(caller, keys, "unsubscribed", "mandator_id", caller.mandator_id))
    known |= {key for (key,) in caller.database.execute(query, [caller.mandator_id, json.dumps(keys)])}
    return [key in known for key in keys]


def _are_unsubscribed_from(caller: Caller, recipient_list: RecipientList, ids: Sequence[str]) -> list[bool]:
    """Return for each id whether it is on the client's unsubscribe list, or on this recipient list's own.

    The vendor doesn't document the former.
    """
    keys = [recipient_id.lower() for recipient_id in ids]
    known = recipient_service.unsubscribed(caller, recipient_list, keys)
    return [key in known for key in keys]


def _resubscribe(caller: Caller, recipient_id: str) -> None:
    statement = "DELETE FROM unsubscribed WHERE mandator_id = ? AND key = ?"
    if caller.database.execute(statement, [caller.mandator_id, recipient_id.lower()]).rowcount == 0:
        raise caller.fault("No unsubscribe found", recipientId=recipient_id)


def _resubscribe_all(caller: Caller, ids: Sequence[str]) -> None:
    """Remove recipients from the unsubscribe list. Unlike `_resubscribe`, it ignores unknown ones."""
    keys = [(caller.mandator_id, recipient_id.lower()) for recipient_id in ids]
    caller.database.executemany("DELETE FROM unsubscribed WHERE mandator_id = ? AND key = ?", keys)


def _block_all(caller: Caller, entries: Sequence[str], reasons: Sequence[str | None]) -> None:
    if len(entries) != len(reasons):
        raise caller.fault(f"Array lengths differ ({len(entries)}, {len(reasons)})", entries=entries)
    rows = [(caller.mandator_id, entry, reason) for entry, reason in zip(entries, reasons, strict=True)]
    caller.database.executemany("INSERT OR IGNORE INTO blocked VALUES (?, ?, ?)", rows)


def _is_entry(caller: Caller, entry: str) -> bool:
    """Return whether the blocklist has exactly this entry; patterns are compared as text."""
    query = "SELECT 1 FROM blocked WHERE mandator_id = ? AND pattern = ?"
    return caller.database.execute(query, [caller.mandator_id, entry]).fetchone() is not None


def _are_blocked(caller: Caller, addresses: Sequence[str]) -> list[bool]:
    blocked = blocklist(caller.database, caller.mandator_id)
    return [blocked(address) for address in addresses]


def _count(caller: Caller, table: str) -> int:
    query = f"SELECT count(*) FROM {table} WHERE mandator_id = ?"  # noqa: S608 - one of our own tables
    return int(caller.database.execute(query, [caller.mandator_id]).fetchone()[0])


def _reader(name: str) -> Callable[..., Value]:
    def read(caller: Caller, since: int, until: int, start_row: int, rows: int) -> Value:
        """Return rows of the files written from `since` up to, not including, `until` (epoch milliseconds)."""
        if rows > MAX_ROWS:
            raise caller.fault(f"At most {MAX_ROWS} rows", numberOfRows=rows)
        stored = caller.database.execute(
            "SELECT cells FROM export_row WHERE mandator_id = ? AND reader = ? AND published_at >= ? "
            "AND published_at < ? ORDER BY published_at, position LIMIT ? OFFSET ?",
            [caller.mandator_id, name, since, until, max(rows, 0), max(start_row, 0)],
        )
        return [json.loads(cells) for (cells,) in stored]

    return read


_READERS = (
    *("getOutBounces", "getUnsubscribes", "getMailingUnsubscribes", "getResponses", "getOpens"),
    *("getClicks", "getLinks", "getMailings", "getRecipients"),
)

HANDLERS: dict[tuple[str, str], Callable[..., Value]] = {
    ("Session", "logout"): _logout,
    ("Session", "getLocale"): lambda caller: caller.locale,
    ("Session", "setLocale"): _set_locale,
    ("Session", "getMediaType"): lambda caller: caller.media_type,
    ("Session", "setMediaType"): _set_media_type,
    ("Recipient", "addAll3"): recipient_service.add_all,
    ("Recipient", "clear"): recipient_service.clear,
    ("Recipient", "contains"): recipient_service.contains,
    ("Recipient", "getCount"): recipient_service.count,
    ("Recipient", "getAll"): recipient_service.get_all,
    ("Recipient", "getAllAdvanced"): recipient_service.page,
    ("Recipient", "getAttributes"): recipient_service.attributes_of,
    ("Recipient", "setAttributes"): recipient_service.set_attributes,
    ("Recipient", "remove"): recipient_service.remove,
    ("Recipient", "removeAll"): recipient_service.remove_all,
    ("Recipient", "removeUnsubscribed"): recipient_service.remove_unsubscribed,
    ("Recipient", "removeBounced"): recipient_service.remove_bounced,
    ("Recipient", "removeBlacklisted"): recipient_service.remove_blacklisted,
    ("RecipientList", "getAllIds"): lambda caller: [item.list_id for item in caller.lists()],
    ("RecipientList", "getName"): lambda caller, recipient_list: recipient_list.name,
    ("RecipientList", "getDescription"): lambda caller, recipient_list: recipient_list.description,
    ("RecipientList", "getAttributeNames"): attribute_names,
    ("RecipientList", "isTestRecipientList"): lambda caller, recipient_list: recipient_list.test,
    ("RecipientList", "getCount"): _count_lists,
    ("RecipientList", "getColumnNames"): _column_names,
    ("RecipientList", "getDataSet"): _data_set,
    ("Unsubscribe", "add"): lambda caller, list_id, who: _unsubscribe_all(caller, list_id, [who]),
    ("Unsubscribe", "addAll"): _unsubscribe_all,
    ("Unsubscribe", "contains"): lambda caller, recipient_id: _are_unsubscribed(caller, [recipient_id])[0],
    ("Unsubscribe", "containsAll"): _are_unsubscribed,
    ("Unsubscribe", "containsByRecipientList"): lambda caller, recipient_list, recipient_id: _are_unsubscribed_from(
        caller, recipient_list, [recipient_id]
    )[0],
    ("Unsubscribe", "containsAllByRecipientList"): _are_unsubscribed_from,
    ("Unsubscribe", "getCount"): lambda caller: _count(caller, "unsubscribed"),
    ("Unsubscribe", "remove"): _resubscribe,
    ("Unsubscribe", "removeAll"): _resubscribe_all,
    ("Blacklist", "add"): lambda caller, entry, reason: _block_all(caller, [entry], [reason]),
    ("Blacklist", "addAll"): _block_all,
    ("Blacklist", "contains"): _is_entry,
    ("Blacklist", "isBlacklisted"): lambda caller, address: _are_blocked(caller, [address])[0],
    ("Blacklist", "areBlacklisted"): _are_blocked,
    ("Blacklist", "getCount"): lambda caller: _count(caller, "blocked"),
    ("ClosedLoop", "getCurrentTime"): lambda caller: int(caller.now * 1000),
    **{("ClosedLoop", name): _reader(name) for name in _READERS},
    ("Mailing", "getIdsInStatus"): mailing_service.ids_in_status,
    ("Mailing", "getStatus"): mailing_service.status,
    ("Mailing", "getName"): mailing_service.name,
    ("Mailing", "getRecipientListIds"): mailing_service.list_ids,
    ("Mailing", "getScheduleDate"): mailing_service.schedule_date,
}
"""The handler of each operation, given the caller and the arguments after the session id, with list ids resolved."""
