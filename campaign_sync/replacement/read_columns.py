"""What is read back of every recipient of a list."""

from dataclasses import dataclass

from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField
from campaign_sync.replacement.list_settings import ListSettings


@dataclass(frozen=True)
class ReadColumns:
    """The attributes that are read, and the snapshot columns that correspond to them, in the same order."""

    settings: ListSettings
    id_attribute: str | None = None
    """The name under which the vendor gives out recipient ids; None where it gives out none."""
    address_attribute: str | None = None
    """The name under which the vendor gives out addresses; None where it gives out none."""

    @classmethod
    def configured(cls, settings: ListSettings) -> "ReadColumns":
        """Return the columns as configured, before the list was asked for the names that it knows."""
        return cls(settings, settings.recipient_list.id_attribute)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The vendor's attribute names."""
        names = filter(None, (self.id_attribute, self.address_attribute))
        return (*self.settings.schema.list_attributes, *names)

    @property
    def snapshot_columns(self) -> list[str]:
        """The columns of a snapshot."""
        keys = {RECIPIENT_ID: self.id_attribute, ADDRESS: self.address_attribute}
        return [*self.settings.schema.list_columns, *(column for column, name in keys.items() if name)]

    @property
    def order(self) -> str:
        """The attribute by which pages are ordered, so that they shift as little as can be."""
        return self.settings.schema.technical[TechnicalField.ENTITY_ID]

    @property
    def is_complete(self) -> bool:
        """Whether the vendor gives out both ids and addresses."""
        return self.id_attribute is not None and self.address_attribute is not None
