"""The section `crm` for Salesforce."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.crm import CrmSettings, OptInSettings, refuse_id_column
from campaign_sync.config.field_types import BaseUrl, CaFile, Credential, Name
from campaign_sync.domain.entity import EntityType

FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$", max_length=80)]
"""The API name of a field, such as `Newsletter__c`; not its label."""

FieldPath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*){0,4}$", max_length=400)
]
"""The API name of a field, or of a field of a parent such as `Account.Name`."""


PeopleFields = Annotated[dict[Name, FieldPath], AfterValidator(refuse_id_column)]
"""The field of Salesforce for a name that lists use, where they differ; `email` for that of the address."""


class ConsentFields(ConfigModel):
    """The fields of a record that hold a consent."""

    granted: FieldName
    """A checkbox: ticked means granted."""
    at: FieldName | None = None
    """A date/time (or date): when it was granted or, if the box isn't ticked, withdrawn."""


class BounceFields(ConfigModel):
    """The fields of a record that hold the bounce of its address."""

    reason: FieldName = "EmailBouncedReason"
    """A text."""
    at: FieldName = "EmailBouncedDate"
    """A date/time."""


class SalesforceOptInSettings(OptInSettings):
    """An opt-in, and where Salesforce keeps its consents: exactly one of `field` and `purpose`."""

    field: dict[EntityType, ConsentFields] = Field(default_factory=dict)
    """Fields of the records themselves, for contact, lead or account. Person accounts have those of contact."""
    purpose: Name | None = None
    """A data use purpose, by name or id: the consents are records of ContactPointTypeConsent for e-mail."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if bool(self.field) == bool(self.purpose):
            raise ValueError("exactly one of field and purpose is expected: where Salesforce keeps the consents")
        return self


class SalesforceLogin(ConfigModel):
    """Where the org is, and who logs in."""

    url: BaseUrl
    """The org's own address (My Domain), like https://acme.my.salesforce.com."""
    client_id: Credential
    """The consumer key of the external client app; {env: NAME} or {file: PATH}."""
    client_secret: Credential | None = None
    """Its consumer secret; {env: NAME} or {file: PATH}."""
    username: Name | None = None
    """Instead of a client_secret: the user of the login by JWT."""
    private_key: Credential | None = None
    """Beside username: the private key (PEM) of the app's certificate; {file: PATH} or {env: NAME}."""
    api_version: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]\.0$")] = "66.0"
    """The version of the API. Salesforce keeps each for three years at least."""
    ca_file: CaFile | None = None
    """A PEM file with the only CAs to trust, for example of a proxy that inspects TLS."""

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if (self.client_secret is None) == (self.private_key is None):
            raise ValueError("exactly one of client_secret and private_key is expected")
        if (self.username is None) != (self.private_key is None):
            raise ValueError("the login by JWT needs username and private_key; one of them is missing")
        return self

    @property
    def place(self) -> str:
        """Which org is read, and by whom: an app has a user of its own. Another user may see other records."""
        return f"{self.url} {self.client_id.get_secret_value()} {self.username}"


class SalesforceSettings(SalesforceLogin, CrmSettings):
    """A CRM in Salesforce."""

    NOT_CONTENT: ClassVar[frozenset[str]] = CrmSettings.NOT_CONTENT | {"username", "api_version", "ca_file"}

    adapter: Literal["salesforce"]
    """The kind of CRM: `salesforce`."""
    contact: PeopleFields = Field(default_factory=dict)
    """Fields of contacts and person accounts for the names that lists use: {city: MailingCity}."""
    lead: PeopleFields = Field(default_factory=dict)
    """Fields of leads for the names that lists use: {city: City}."""
    account: PeopleFields = Field(default_factory=dict)
    """Fields of accounts. They have no address of their own: with `email` they are read, without they aren't."""
    bounce: dict[EntityType, BounceFields] = Field(default_factory=dict)
    """The fields that hold bounces, where they aren't EmailBouncedReason and EmailBouncedDate. Accounts have none."""
    opt_ins: dict[Name, SalesforceOptInSettings] = Field(default_factory=dict)  # type: ignore[assignment]
    """The opt-ins by their ids, and where Salesforce keeps their consents."""

    @model_validator(mode="after")
    def _check_opt_ins(self) -> Self:
        if not self.opt_ins:
            raise ValueError("opt_ins is empty: name the opt-ins, and where Salesforce keeps their consents")
        uses = any(EntityType.ACCOUNT in opt_in.field for opt_in in self.opt_ins.values())
        if (uses or EntityType.ACCOUNT in self.bounce) and "email" not in self.account:
            raise ValueError("accounts have no address; name the field that has one in account, like {email: Email__c}")
        return self

    @property
    def entity_types(self) -> tuple[EntityType, ...]:
        """The types of records that are read."""
        return tuple(kind for kind in EntityType if kind is not EntityType.ACCOUNT or "email" in self.account)

    @property
    def people(self) -> dict[EntityType, dict[str, str]]:
        """The fields by the names that lists use, where they differ, of each type of record."""
        return {EntityType.CONTACT: self.contact, EntityType.LEAD: self.lead, EntityType.ACCOUNT: self.account}

    def field_of(self, entity_type: EntityType, name: str) -> str:
        """Return the field of Salesforce for a name that lists use."""
        return self.people[entity_type].get(name, {"id": "Id", "email": "Email"}.get(name, name))

    def bounce_fields(self, entity_type: EntityType) -> BounceFields | None:
        """Return the fields of bounces; None for accounts without any."""
        standard = None if entity_type is EntityType.ACCOUNT else BounceFields()
        return self.bounce.get(entity_type, standard)

    def written_fields(self, entity_type: EntityType) -> list[str]:
        """Return the fields of a type that hold consents and bounces."""
        fields = [opt_in.field[entity_type] for opt_in in self.opt_ins.values() if entity_type in opt_in.field]
        bounce = self.bounce_fields(entity_type)
        consents = [name for field in fields for name in (field.granted, field.at) if name]
        return [*consents, *((bounce.reason, bounce.at) if bounce else ())]
