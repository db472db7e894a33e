"""The caller of a service: the session, the mandator and its recipient lists."""

import json
import sqlite3
from dataclasses import dataclass

from campaign_sync.sandbox.axis_messages import SoapError
from campaign_sync.sandbox.list_order import Orders

SYSTEM_ATTRIBUTES = {
    "de": ("Erstellt am", "Geändert am", "Opt-in-Quelle", "Opt-in-Datum"),
    "en": ("Created on", "Modified on", "Opt-in source", "Opt-in date"),
}
"""Attributes of every list that the vendor writes itself, by locale."""

DEFAULT_LOCALE = "de"


@dataclass(frozen=True)
class RecipientList:
    """A recipient list, without its recipients."""

    list_id: int
    name: str
    description: str
    attributes: tuple[str, ...]
    opt_in_list: bool
    test: bool


@dataclass(frozen=True)
class Caller:
    """A mandator's user with a valid session; `now` is in seconds since the epoch."""

    database: sqlite3.Connection
    orders: Orders
    now: float
    session_id: str
    mandator_id: int
    username: str
    locale: str
    media_type: str

    def fault(self, text: str, **arguments: object) -> SoapError:
        """Return a fault for this call. Like the vendor's, it repeats the session and personal data."""
        call = ", ".join(f"{name}='{value}'" for name, value in arguments.items())
        who = f"[{self.session_id},{self.mandator_id},{self.username}]"
        return SoapError(f"WebserviceImplException: {who} {text} for call: {call}")

    def lists(self) -> list[RecipientList]:
        """Return all lists of the mandator, by id."""
        rows = self.database.execute(
            "SELECT list_id, name, description, attributes, opt_in_list, test FROM recipient_list "
            "WHERE mandator_id = ? ORDER BY list_id",
            [self.mandator_id],
        )
        return [
            RecipientList(list_id, name, description, tuple(json.loads(attributes)), bool(opt_in_list), bool(test))
            for list_id, name, description, attributes, opt_in_list, test in rows
        ]

    def list_of(self, list_id: int) -> RecipientList:
        """Return one list of the mandator.

        Raises:
            SoapError: the mandator has no list with this id.
        """
        for recipient_list in self.lists():
            if recipient_list.list_id == list_id:
                return recipient_list
        raise self.fault("Recipient list does not exist", recipientListId=list_id)
