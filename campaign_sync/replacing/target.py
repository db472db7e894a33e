"""Which recipient list a replace is about, and what the configuration demands of it."""

from dataclasses import dataclass
from datetime import timedelta

from campaign_sync.configuration import Configuration
from campaign_sync.crm.port import Pick
from campaign_sync.domain.checks import Contract
from campaign_sync.domain.recipient import TechnicalField


@dataclass(frozen=True)
class Target:
    """One recipient list of one mandator, as configured."""

    mandator: str
    name: str
    recipient_list_id: int
    pick: Pick
    contract: Contract
    batch_size: int
    parallel_calls: int
    max_feedback_age: timedelta
    max_snapshot_age: timedelta

    def __str__(self) -> str:
        return f"{self.mandator}/{self.name} (recipient list {self.recipient_list_id})"


def target(configuration: Configuration, mandator: str, name: str) -> Target:
    """The list `name` of `mandator`; both are keys of the configuration."""
    settings = configuration.mandators[mandator]
    recipient_list = settings.lists[name]
    return Target(
        mandator=mandator,
        name=name,
        recipient_list_id=recipient_list.recipient_list_id,
        pick=Pick(recipient_list.select.kind, recipient_list.select.name),
        contract=Contract(
            opt_in_id=recipient_list.opt_in_id,
            attributes=recipient_list.attributes,
            technical={field: recipient_list.technical_attribute(field) for field in TechnicalField},
            limits=recipient_list.limits.size_limits(),
        ),
        batch_size=configuration.optimizely.batch_size,
        parallel_calls=configuration.optimizely.parallel_calls,
        max_feedback_age=settings.feedback.max_age,
        max_snapshot_age=recipient_list.max_snapshot_age,
    )
