"""Which recipient list a replace is about, and what the configuration demands of it."""

from dataclasses import dataclass
from datetime import timedelta

from campaign_sync.config import Configuration, SmartCampaigns, Strategy, UnsubscribeLists
from campaign_sync.crm.port import Pick
from campaign_sync.domain.checks import ListSchema
from campaign_sync.domain.feedback_age import AgeLimits
from campaign_sync.domain.recipient import ADDRESS, RECIPIENT_ID, TechnicalField


@dataclass(frozen=True)
class Target:
    """One recipient list of one mandator, as configured."""

    mandator: str
    name: str
    mandator_called: str
    """What people call the mandator; for pages and reports, never for keys and paths."""
    called: str
    """What people call the list, likewise."""
    recipient_list_id: int
    pick: Pick
    contract: ListSchema
    batch_size: int
    parallel_calls: int
    readers: tuple[str, ...]
    feedback_age: AgeLimits
    feedback_by_files: bool
    """Whether the vendor delivers feedback as files, instead of being asked for it."""
    rows_name_opt_ins: bool
    """Whether the rows of unsubscribes name the opt-in that is affected."""
    max_snapshot_age: timedelta
    strategy: Strategy
    id_attribute: str | None
    """Under which name the vendor gives out recipient ids: as configured, else as found out (`key_attributes`)."""
    canary_address: str | None
    unsubscribe_lists: UnsubscribeLists
    watch_mailings: bool
    quiet_before_mailing: timedelta
    max_wait: timedelta
    smart_campaigns: SmartCampaigns
    id_attribute_configured: bool = False
    """Whether the configuration says so."""
    address_attribute: str | None = None
    """Under which name the vendor gives out addresses, as found out."""

    @property
    def opt_outs_await_rows(self) -> bool:
        """Whether an opt-out seen on the client's unsubscribe list waits for its feedback row, which names the opt-in.

        The unsubscribe list of a single recipient list says by itself which opt-in it is.
        """
        return self.rows_name_opt_ins and self.unsubscribe_lists == "client"

    @property
    def read_attributes(self) -> tuple[str, ...]:
        """What is read back of every recipient."""
        return (*self.contract.list_attributes, *filter(None, (self.id_attribute, self.address_attribute)))

    @property
    def read_columns(self) -> list[str]:
        """The snapshot columns that correspond to it."""
        keys = {RECIPIENT_ID: self.id_attribute, ADDRESS: self.address_attribute}
        return [*self.contract.list_columns, *(column for column, name in keys.items() if name)]

    def __str__(self) -> str:
        return f"{self.mandator}/{self.name} (recipient list {self.recipient_list_id})"


def target(configuration: Configuration, mandator: str, name: str) -> Target:
    """The list `name` of `mandator`; both are keys of the configuration."""
    settings = configuration.mandators[mandator]
    recipient_list = settings.lists[name]
    return Target(
        mandator=mandator,
        name=name,
        mandator_called=settings.display_name(mandator),
        called=recipient_list.display_name(name),
        recipient_list_id=recipient_list.recipient_list_id,
        pick=Pick(recipient_list.select.kind, recipient_list.select.name),
        contract=ListSchema(
            opt_in_id=recipient_list.opt_in_id,
            attributes=recipient_list.attributes,
            technical={field: recipient_list.technical_attribute(field) for field in TechnicalField},
            limits=recipient_list.limits.size_limits(),
        ),
        batch_size=configuration.optimizely.batch_size,
        parallel_calls=configuration.optimizely.parallel_calls,
        readers=tuple(settings.feedback.readers),
        feedback_age=settings.feedback.age_limits,
        feedback_by_files=settings.feedback.files is not None,
        rows_name_opt_ins=bool(settings.feedback.opt_in_readers),
        max_snapshot_age=recipient_list.max_snapshot_age,
        strategy=recipient_list.strategy,
        id_attribute=recipient_list.id_attribute,
        canary_address=settings.canary_address,
        unsubscribe_lists=settings.unsubscribe_lists,
        watch_mailings=settings.mailings.watch,
        quiet_before_mailing=settings.mailings.quiet_before_mailing,
        max_wait=settings.mailings.max_wait,
        smart_campaigns=settings.mailings.smart_campaigns,
        id_attribute_configured=recipient_list.id_attribute is not None,
    )
