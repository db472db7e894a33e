"""The section `crm` for Dynamics 365 (Dataverse)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.crm import PEOPLE, CrmSettings, OptInSettings, refuse_id_column
from campaign_sync.config.field_types import BaseUrl, CaFile, Credential, Name, Text
from campaign_sync.domain.entity import EntityType

LogicalName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=128)]
"""The name of a table or column as the API has it, such as `emailaddress1`; not the title that forms show."""

DEFAULT_EMAIL_COLUMN = "emailaddress1"


PeopleColumns = Annotated[dict[Name, LogicalName], AfterValidator(refuse_id_column)]
"""The column of Dataverse for a name that lists use, where they differ; `email` for that of the address."""


class ConsentColumns(ConfigModel):
    """The columns of a table of people that hold a consent."""

    granted: LogicalName
    """A column of the type Yes/No: yes means granted."""
    at: LogicalName | None = None
    """A column with date and time: when it was granted or, if it isn't, withdrawn."""


class BounceColumns(ConfigModel):
    """The columns of a table of people that hold the bounce of its address."""

    state: LogicalName
    """A column of the type Yes/No, or a text that takes hard, soft or limit."""
    at: LogicalName | None = None
    """A column with the date and time of the bounce."""


class DataverseOptInSettings(OptInSettings):
    """An opt-in, and where Dynamics 365 keeps its consents. Without purpose and field, in the table of `consents`."""

    purpose: Name | None = None
    """A purpose of Customer Insights - Journeys, by name or id."""
    topic: Name | None = None
    """A topic of that purpose. Who opted out of the purpose is then withdrawn as well."""
    field: dict[EntityType, ConsentColumns] = Field(default_factory=dict)
    """Columns of the records themselves, for contact, lead or account."""
    value: Text | None = None
    """What the column `opt_in` of the table of `consents` holds for this opt-in; its id if left out."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.topic and not self.purpose:
            raise ValueError("a topic belongs to a purpose; add purpose")
        if self.purpose and self.field:
            raise ValueError("the consents are either of a purpose or in columns (field); remove one of them")
        if self.value and not self.is_in_table:
            raise ValueError("value is for consents in the table of crm.consents; remove it")
        return self

    @property
    def is_in_table(self) -> bool:
        """Whether the consents are in the table of `consents`."""
        return self.purpose is None and not self.field


class ConsentHistory(ConfigModel):
    """A table with the history of consents, such as that of the vendor's connector. Withdrawals are added to it."""

    table: LogicalName
    """Its name."""
    contact: LogicalName | None = None
    """The lookup column to the contact."""
    lead: LogicalName | None = None
    """The lookup column to the lead."""
    account: LogicalName | None = None
    """The lookup column to the account."""
    opt_in: LogicalName
    """The column with the opt-in: a lookup, a choice or a text."""
    kind: LogicalName
    """The column that says what happened: a choice, a text or Yes/No."""
    granted: tuple[Text, ...] = Field(min_length=1)
    """The values of `kind` that grant; of a choice the numbers, of Yes/No true or false."""
    withdrawn: tuple[Text, ...] = Field(min_length=1)
    """The values of `kind` that withdraw. The first is written."""
    at: LogicalName
    """The column with date and time."""
    source: LogicalName | None = None
    """A text column for where it happened."""
    evidence: LogicalName | None = None
    """A text column for the evidence."""

    @model_validator(mode="after")
    def _check_people(self) -> Self:
        if not self.people():
            raise ValueError("name the lookup column to contact, lead or account: otherwise a consent has no person")
        return self

    def people(self) -> dict[EntityType, str]:
        """Return the lookup columns to people."""
        columns = {entity_type: getattr(self, entity_type.value) for entity_type in EntityType}
        return {entity_type: column for entity_type, column in columns.items() if column}


class DataverseLogin(ConfigModel):
    """Where Dynamics 365 is, and who logs in."""

    url: BaseUrl
    """Address of the environment, like https://contoso.crm4.dynamics.com."""
    tenant_id: Name
    """The tenant in Microsoft Entra: its id, or one of its domains."""
    client_id: Credential
    """The id of the app registration; {env: NAME} or {file: PATH}."""
    client_secret: Credential | None = None
    """Its secret; {env: NAME} or {file: PATH}. A certificate is better."""
    certificate: Credential | None = None
    """Its certificate with the private key, both in the form PEM; {file: PATH}."""
    login_url: BaseUrl = "https://login.microsoftonline.com"
    """Where to log in; national clouds have others, like https://login.microsoftonline.us."""
    ca_file: CaFile | None = None
    """A PEM file with the CAs to trust, for a proxy that opens TLS."""

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if (self.client_secret is None) == (self.certificate is None):
            raise ValueError("exactly one of client_secret and certificate is expected")
        return self

    @property
    def place(self) -> str:
        """Which environment is read, and by whom: an app has a user of its own. Another may see other records."""
        return f"{self.url} {self.tenant_id} {self.client_id.get_secret_value()}"


class DataverseSettings(DataverseLogin, CrmSettings):
    """Dynamics 365, by the Web API of Dataverse."""

    NOT_CONTENT: ClassVar[frozenset[str]] = CrmSettings.NOT_CONTENT | {"tenant_id", "login_url", "ca_file"}

    adapter: Literal["dataverse"] = "dataverse"
    """The kind of CRM: `dataverse` for Dynamics 365."""
    contact: PeopleColumns | None = Field(default_factory=dict)
    """Names of columns of contacts; null if contacts aren't read."""
    lead: PeopleColumns | None = Field(default_factory=dict)
    """Names of columns of leads; null if leads aren't read, as in an environment without sales."""
    account: PeopleColumns | None = Field(default_factory=dict)
    """Names of columns of accounts; null if accounts aren't read."""
    bounce: dict[EntityType, BounceColumns] = Field(min_length=1)
    """The columns that hold bounces, for contact, lead or account."""
    consents: ConsentHistory | None = None
    """The table of the opt-ins that have neither purpose nor field."""
    opt_ins: Mapping[Name, DataverseOptInSettings] = Field(min_length=1)  # type: ignore[assignment]
    """The opt-ins by their ids, and where their consents are."""

    @model_validator(mode="after")
    def _check_tables(self) -> Self:
        if not self.people():
            raise ValueError("contact, lead and account are all null: then the CRM has no people")
        in_table = [opt_in_id for opt_in_id, opt_in in self.opt_ins.items() if opt_in.is_in_table]
        if in_table and self.consents is None:
            raise ValueError(
                f"the opt-in {in_table[0]} has neither purpose nor field; add one of them, or the table in consents"
            )
        if self.consents is not None and not in_table:
            raise ValueError("consents is for opt-ins without purpose and field, and there are none; remove it")
        named = {*self.bounce, *(self.consents.people() if self.consents else ())}
        named |= {entity_type for opt_in in self.opt_ins.values() for entity_type in opt_in.field}
        if unread := sorted(named - self.people().keys()):
            raise ValueError(f"{unread[0]} is null, but bounce, field or consents names it; remove it there")
        return self

    def people(self) -> dict[EntityType, dict[str, str]]:
        """Return the tables of people that are read, each with its columns by the names that lists use."""
        tables = {EntityType(name): getattr(self, name) for name in PEOPLE}
        return {
            entity_type: {"email": DEFAULT_EMAIL_COLUMN, **columns}
            for entity_type, columns in tables.items()
            if columns is not None
        }
