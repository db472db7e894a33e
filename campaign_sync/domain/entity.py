"""The kinds of CRM records that can be written to."""

from enum import StrEnum
from typing import NamedTuple, Self


class EntityType(StrEnum):
    """What a person is in the CRM. The order is the precedence when one address belongs to several of them."""

    CONTACT = "contact"
    LEAD = "lead"
    ACCOUNT = "account"

    @property
    def precedence(self) -> int:
        """0 for the kind that wins a shared address."""
        return list(EntityType).index(self)


class Entity(NamedTuple):
    """One record of the CRM. As a text it is `entity_type:entity_id`, like `contact:4711`."""

    entity_type: EntityType
    entity_id: str

    def __str__(self) -> str:
        return f"{self.entity_type.value}:{self.entity_id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `text` names; None where it doesn't begin with a kind of record. Ids may hold colons themselves."""
        kind, colon, entity_id = text.strip().partition(":")
        known = kind.lower() in list(EntityType)
        return cls(EntityType(kind.lower()), entity_id) if known and colon and entity_id else None
