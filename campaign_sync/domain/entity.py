"""CRM records that mail can be sent to."""

from enum import StrEnum
from typing import NamedTuple, Self


class EntityType(StrEnum):
    """The kinds of CRM records, in the order of precedence for an address that several records share."""

    CONTACT = "contact"
    LEAD = "lead"
    ACCOUNT = "account"

    @property
    def precedence(self) -> int:
        """The rank for shared addresses; 0 is the highest."""
        return list(EntityType).index(self)


class Entity(NamedTuple):
    """A record of the CRM. Its text form is `entity_type:entity_id`, like `contact:4711`."""

    entity_type: EntityType
    entity_id: str

    def __str__(self) -> str:
        return f"{self.entity_type.value}:{self.entity_id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the record with this text form; None if `text` has no known kind. Ids may contain colons."""
        kind, _, entity_id = text.strip().partition(":")
        return cls.from_parts(kind, entity_id.strip())

    @classmethod
    def from_parts(cls, kind: str | None, entity_id: str | None) -> Self | None:
        """Return the record of this kind, in any case, and id; None if the kind isn't known or a part is empty."""
        kind = (kind or "").strip().lower()
        return cls(EntityType(kind), entity_id) if kind in list(EntityType) and entity_id else None
