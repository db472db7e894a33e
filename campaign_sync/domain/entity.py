"""The kinds of CRM records that can be written to."""

from enum import StrEnum


class EntityType(StrEnum):
    """What a person is in the CRM. The order is the precedence when one address belongs to several of them."""

    CONTACT = "contact"
    LEAD = "lead"
    ACCOUNT = "account"

    @property
    def precedence(self) -> int:
        """0 for the kind that wins a shared address."""
        return list(EntityType).index(self)
