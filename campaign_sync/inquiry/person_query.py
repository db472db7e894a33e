"""The person that a question is about."""

from dataclasses import dataclass

from campaign_sync.crm.address_key import address_key
from campaign_sync.domain.address import InvalidAddressError, former_recipient_id, normalize_address
from campaign_sync.domain.entity import Entity
from campaign_sync.inquiry.errors import InvalidPersonError, UnknownPersonError


@dataclass(frozen=True)
class PersonQuery:
    """All people with one address (in the one spelling we use), or one record of the CRM."""

    text: str
    """As it was typed."""
    address: str | None
    entity: Entity | None

    @classmethod
    def parse(cls, text: str) -> "PersonQuery":
        """Read an address, or a record such as `contact:4711`.

        Raises:
            InvalidPersonError: the text is neither.
        """
        entity = Entity.parse(text)
        if entity:
            return cls(text, None, entity)
        # Even what can't be an address: it may be all that the CRM has, and the reason why the person is in no list.
        address = address_key(text) or former_recipient_id(text)
        if not address or "@" not in address:
            raise InvalidPersonError(
                "WHO is neither an e-mail address nor a record of the CRM; write it like contact:4711"
            )
        return cls(text, address, None)

    @property
    def subject(self) -> str:
        """The address or the record, in the one spelling we use."""
        return str(self.entity) if self.entity else self.address or ""

    @property
    def entities(self) -> list[Entity]:
        """The record asked for; empty if an address was asked for."""
        return [self.entity] if self.entity else []

    def unknown_error(self, snapshots: str, *, feedback: bool) -> UnknownPersonError:
        """Return the error for a person that no source has. Its message doesn't repeat an address.

        Args:
            snapshots: which ones were searched.
            feedback: whether the vendor's feedback was searched for the address, too.
        """
        if self.entity:
            return UnknownPersonError(
                f"{self.entity} is neither in the CRM, nor in the rejections, nor in {snapshots}; check how the CRM "
                "writes it, or ask for the address"
            )
        sources = f"this address is neither in the CRM, nor in {snapshots}"
        try:
            normalize_address(self.text)
        except InvalidAddressError as error:
            return UnknownPersonError(f"{sources}, and can't be one: {error}")
        further = ", nor in the vendor's feedback" if feedback else ""
        return UnknownPersonError(f"{sources}{further}; check how it is written")
