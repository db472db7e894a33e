"""The section `crm`: the base that all kinds of CRM share, and the settings of each adapter."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Duration, Key, Name
from campaign_sync.domain.consent import STANDARD_WORDS, ConsentWords, OptIn, normalize_word
from campaign_sync.domain.entity import EntityType

PEOPLE: Final = tuple(entity_type.value for entity_type in EntityType)
"""The tables of people."""


def require_people_and_consents(tables: Collection[str]) -> None:
    """Raise ValueError if these tables of the contract have no people, or no consents."""
    if not any(name in tables for name in PEOPLE):
        raise ValueError("tables needs contact, lead or account: otherwise the CRM has no people")
    if "consent_event" not in tables and "consent_state" not in tables:
        raise ValueError("tables needs consent_event or consent_state: otherwise no consent is known")


def refuse_id_column(columns: dict[str, str]) -> dict[str, str]:
    """Return columns by the names that lists use. Raise ValueError if the id is among them."""
    if "id" in columns:
        raise ValueError("id is always the record's own id; remove it")
    return columns


class ConsentKindSettings(ConfigModel):
    """The CRM's words for consent events besides granted, confirmed and withdrawn, which are always understood."""

    granted: tuple[Name, ...] = ()
    """Words that grant a consent."""
    withdrawn: tuple[Name, ...] = ()
    """Words that withdraw one."""
    ignored: tuple[Name, ...] = ()
    """Words that do neither, like those for a double opt-in that isn't confirmed yet."""

    @model_validator(mode="after")
    def _check_words_are_distinct(self) -> Self:
        words = [normalize_word(word) for word in (*self.granted, *self.withdrawn, *self.ignored)]
        for word in words:
            if word in STANDARD_WORDS:
                raise ValueError(f"{word} has its meaning already; leave it out")
            if words.count(word) > 1:
                raise ValueError(f"{word} is declared twice; case and blanks around it don't count")
        return self

    @property
    def words(self) -> ConsentWords:
        """The words for the domain, normalized."""
        return ConsentWords(
            *(frozenset(map(normalize_word, words)) for words in (self.granted, self.withdrawn, self.ignored))
        )


class OptInSettings(ConfigModel):
    """An opt-in (advertising consent) of a CRM that has no table of them."""

    mandator: Key
    """The mandator whose lists use it, and whose unsubscribes withdraw it."""
    description: Name
    """Sent with every row as `description`."""
    media_type: Name = "email"
    """Sent with every row as `media-type`."""


class CrmSettings(ConfigModel):
    """The connection to the CRM: what every adapter has."""

    NOT_CONTENT: ClassVar[frozenset[str]] = frozenset({"people_max_age"})
    """Settings that don't decide whom a list can be picked from, and who has consented. Secrets never do."""

    adapter: str
    """The kind of CRM: the name of an installed adapter."""
    consent_kinds: ConsentKindSettings = ConsentKindSettings()
    """Further words for what happens to a consent, and what they mean."""
    undated_regrant: Literal["ask", "accept"] = "ask"
    """What happens to a consent that was withdrawn and is granted again without a newer date: `ask` keeps the person
    out until `run --accept-withdrawals`; `accept` lets it count if it has no date, or still the one it had before the
    withdrawal, unless there are suspiciously many.
    """
    opt_ins: dict[Name, OptInSettings] = Field(default_factory=dict)
    """The opt-ins by their ids, where the CRM itself has no table of them."""
    people_max_age: Duration = timedelta(minutes=10)
    """How old people and selections may be where the CRM is copied, counted from the end of their read.

    Consents and bounces are read anew each time; those of Salesforce and Dynamics 365 are read completely at this age,
    and each time what changed since.
    """

    def _refuse_people_max_age(self, reason: str) -> None:
        """Raise ValueError if `people_max_age` is given, for a CRM whose people it can't age."""
        if "people_max_age" in self.model_fields_set:
            raise ValueError(f"people_max_age has no effect: {reason}; remove it")

    def content(self, opt_in_id: str) -> dict[str, Any]:
        """Return what decides whom a list on an opt-in can be picked from: which CRM it is, and how it is read.

        Who logs in, and how, isn't in it.
        """
        secrets = {name for name in type(self).model_fields if isinstance(getattr(self, name), SecretStr)}
        excluded = {*self.NOT_CONTENT, *secrets, "opt_ins"}
        settings = self.model_dump(mode="json", exclude=excluded, exclude_defaults=True)
        opt_in = self.opt_ins.get(opt_in_id)
        return {**settings, "adapter": self.adapter, "opt_in": opt_in.model_dump(mode="json") if opt_in else None}

    def configured_opt_ins(self) -> list[OptIn]:
        """Return `opt_ins` for the domain."""
        return [
            OptIn(opt_in_id, settings.mandator, settings.description, settings.media_type)
            for opt_in_id, settings in self.opt_ins.items()
        ]
