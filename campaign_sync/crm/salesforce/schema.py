"""The objects and fields of an org, as Salesforce describes them for the user who is logged in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from campaign_sync.crm.port import CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi
from campaign_sync.domain.entity import EntityType

OBJECTS: Final = {EntityType.CONTACT: "Contact", EntityType.LEAD: "Lead", EntityType.ACCOUNT: "Account"}
"""The object of each type of record. The contact of a person account is a contact."""

_COMPOUND: Final = frozenset({"address", "location"})
"""Types whose parts are fields of their own; jobs can't read them."""


@dataclass(frozen=True)
class SalesforceField:
    """A field that the user may read."""

    name: str
    kind: str
    createable: bool
    updateable: bool
    relationship: str | None
    parent: str | None
    """The object that it refers to, if that is a single one."""
    calculated: bool = False
    """Whether it is a formula, whose value may change without a change of the record."""


class Schema:
    """Describes objects, each at most once.

    Args:
        api: of the org.
    """

    def __init__(self, api: SalesforceApi) -> None:
        self._api = api
        self._objects: dict[str, Mapping[str, SalesforceField]] = {}

    def fields(self, name: str) -> Mapping[str, SalesforceField]:
        """Return the fields of an object by their names in lower case.

        Raises:
            CrmError: there is no such object, or the user may not read it.
        """
        if not self.knows(name):
            raise CrmSetupError(
                f"Salesforce has no object {name} that the user may read: grant Read on it in the permission set"
            )
        return self._objects[name]

    def knows(self, name: str) -> bool:
        """Return whether there is an object that the user may read."""
        if name not in self._objects:
            document = self._api.described(name) or {"fields": ()}
            self._objects[name] = {str(field["name"]).lower(): _field(field) for field in document["fields"]}
        return bool(self._objects[name])

    def has(self, name: str, field: str) -> bool:
        """Return whether an object has a field that the user may read."""
        return field.lower() in self.fields(name)

    def field(self, name: str, path: str) -> SalesforceField | None:
        """Return the field that a path names, such as `Account.Name` of a contact; None if it can't be read."""
        first, _, rest = path.partition(".")
        if not rest:
            field = self.fields(name).get(first.lower())
            return None if field is None or field.kind in _COMPOUND else field
        parents = [field.parent for field in self.fields(name).values() if _is(field.relationship, first)]
        parent = parents[0] if parents else None
        return self.field(parent, rest) if parent and self.knows(parent) else None

    def business_accounts(self) -> str:
        """Return the accounts that are no person accounts, for FROM."""
        return "Account WHERE IsPersonAccount = false" if self.has("Account", "IsPersonAccount") else "Account"


def _field(document: Mapping[str, Any]) -> SalesforceField:
    parents = document.get("referenceTo") or []
    return SalesforceField(
        str(document["name"]),
        str(document["type"]),
        bool(document["createable"]),
        bool(document["updateable"]),
        document.get("relationshipName"),
        parents[0] if len(parents) == 1 else None,
        bool(document.get("calculated")),
    )


def _is(relationship: str | None, name: str) -> bool:
    return relationship is not None and relationship.lower() == name.lower()
