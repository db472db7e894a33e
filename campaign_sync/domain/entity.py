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
        kind, _, entity_id = text.strip().partition(":")
        return cls.from_parts(kind, entity_id)

    @classmethod
    def from_parts(cls, kind: str | None, entity_id: str | None) -> Self | None:
        """The record that two texts name, the first in any case; None where the kind isn't known, or one is empty."""
        kind = (kind or "").strip().lower()
        return cls(EntityType(kind), entity_id) if kind in list(EntityType) and entity_id else None
