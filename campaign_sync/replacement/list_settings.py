"""Which recipient list is replaced, and everything that the configuration says of it."""

import json
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256

from campaign_sync.config import Configuration, CrmSettings, MandatorSettings, OptimizelySettings, RecipientListSettings
from campaign_sync.crm.needs import pick_of
from campaign_sync.crm.port import Pick
from campaign_sync.domain.checks import ListSchema
from campaign_sync.domain.message import Language, Message
from campaign_sync.domain.recipient import TechnicalField

_NOT_CONTENT = {"title", "owners", "limits", "max_snapshot_age", "approval", "priority"}
"""Settings of a list that don't decide what is in it."""


@dataclass(frozen=True)
class ListSettings:
    """One recipient list of one mandator, as configured."""

    mandator: str
    """The mandator's key in the configuration."""
    name: str
    """The list's key in the configuration."""
    schema: ListSchema
    """What its rows must be."""
    recipient_list: RecipientListSettings
    """The list's own section."""
    mandator_settings: MandatorSettings
    optimizely: OptimizelySettings
    crm: CrmSettings

    @property
    def prefix(self) -> str:
        """What its names in Dagster begin with; empty for nothing."""
        return self.mandator_settings.prefix

    @property
    def language(self) -> Language:
        """The language of its descriptions and checks."""
        return self.mandator_settings.language

    @property
    def recipient_list_id(self) -> int:
        """The vendor's id of the list."""
        return self.recipient_list.recipient_list_id

    @property
    def pick(self) -> Pick:
        """Who in the CRM is selected."""
        return pick_of(self.recipient_list.select)

    @property
    def exclusions(self) -> dict[str, Pick]:
        """Who in the CRM is excluded, by the places in the configuration."""
        place = f"mandators.{self.mandator}.lists.{self.name}.exclude"
        return {f"{place}.{position}": pick_of(entry) for position, entry in enumerate(self.recipient_list.exclude)}

    @property
    def pick_title(self) -> str:
        """Kind and name of the selection, for people to read."""
        return self.pick.title

    @property
    def exclusion_titles(self) -> str:
        """Kinds and names of the exclusions, for people to read; empty if there are none."""
        titles = [pick.title for pick in self.exclusions.values()]
        if not titles:
            return ""
        return reduce(lambda first, second: Message("{first} or the {second}", first=first, second=second), titles)

    @property
    def display_name(self) -> str:
        """What people call the list; for pages and reports, never for keys and paths."""
        return self.recipient_list.display_name(self.name)

    @property
    def mandator_display_name(self) -> str:
        """What people call the mandator; for pages and reports, never for keys and paths."""
        return self.mandator_settings.display_name(self.mandator)

    @property
    def has_own_unsubscribe_list(self) -> bool:
        """Whether the vendor keeps an unsubscribe list of this recipient list alone, beside the mandator's."""
        return self.mandator_settings.unsubscribe_lists == "per_list"

    @property
    def rows_name_opt_ins(self) -> bool:
        """Whether the rows of unsubscribes name the opt-in that is affected."""
        return bool(self.mandator_settings.feedback.opt_in_readers)

    @property
    def opt_outs_await_rows(self) -> bool:
        """Whether an opt-out on the mandator's unsubscribe list waits for its feedback row, which names the opt-in.

        The unsubscribe list of a single recipient list says by itself which opt-in it is.
        """
        return self.rows_name_opt_ins and not self.has_own_unsubscribe_list

    @property
    def feedback_by_files(self) -> bool:
        """Whether the vendor delivers feedback as files, instead of being asked for it."""
        return self.mandator_settings.feedback.files is not None

    @property
    def digest(self) -> str:
        """What changes with the settings that decide what is in the list: its own, and which CRM is read, and how."""
        crm = json.dumps(self.crm.content(self.schema.opt_in_id), sort_keys=True)
        return sha256(f"{settings_digest(self.recipient_list)} {crm}".encode()).hexdigest()

    @property
    def reference(self) -> Message:
        """Its keys in the configuration, and the vendor's id."""
        return Message("{list} (recipient list {id})", list=f"{self.mandator}/{self.name}", id=self.recipient_list_id)

    def __str__(self) -> str:
        return str(self.reference)


def settings_digest(section: RecipientListSettings) -> str:
    """Return the digest of the settings in a list's own section that decide what is in it."""
    settings = section.model_dump(mode="json", exclude=_NOT_CONTENT)
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def list_settings(configuration: Configuration, mandator: str, name: str) -> ListSettings:
    """Return the settings of the list `name` of `mandator`; both are keys of the configuration."""
    settings = configuration.mandators[mandator]
    recipient_list = settings.lists[name]
    schema = ListSchema(
        opt_in_id=recipient_list.opt_in_id,
        attributes=recipient_list.attributes,
        technical={field: recipient_list.technical_attribute(field) for field in TechnicalField},
        limits=recipient_list.limits.size_limits(),
    )
    return ListSettings(mandator, name, schema, recipient_list, settings, configuration.optimizely, configuration.crm)
