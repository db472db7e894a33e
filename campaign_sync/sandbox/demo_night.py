"""What happens in the demonstration's CRM and at its vendor in the night before a day's runs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from campaign_sync.config import Configuration, MandatorSettings
from campaign_sync.replacement.list_settings import list_settings
from campaign_sync.sandbox.demo_crm import advance_demo_crm, create_demo_crm, demo_addresses
from campaign_sync.sandbox.demo_people import LEAVER
from campaign_sync.sandbox.vendor_state import VendorState

UNSUBSCRIBED_ON = 12
"""The day on which `LEAVER` unsubscribes; it is the first one of a demonstration that begins later."""

_PUBLISHED_LATE = 4
"""How many of a day's unsubscribes the vendor's export job hasn't written yet, so that only a live query shows them."""


@dataclass(frozen=True)
class Night:
    """The night before a day."""

    day: int
    """From which follows what happens."""
    moment: datetime
    """Its end, when the day's runs begin."""
    previous: datetime | None
    """The end of the night before; None for the first, which creates CRM and lists."""

    @property
    def unsubscribing(self) -> list[str]:
        """Who unsubscribes from nord's lists besides the people of the day."""
        is_then = self.day == UNSUBSCRIBED_ON or (self.previous is None and self.day > UNSUBSCRIBED_ON)
        return [LEAVER] if is_then else []


def let_pass(
    night: Night, crm_url: str, vendor: VendorState, configuration: Configuration, credentials: tuple[str, str]
) -> None:
    """Create CRM and lists on the first day, change the CRM on every other; publish feedback.

    Args:
        night: which one.
        crm_url: the demonstration's CRM.
        vendor: its vendor.
        configuration: has its mandators.
        credentials: user name and password of every mandator at the vendor.
    """
    happened = night.moment - timedelta(hours=3)
    if night.previous is None:
        create_demo_crm(crm_url)
        _create_lists(vendor, configuration, credentials)
    else:
        advance_demo_crm(crm_url, night.day, night.moment - timedelta(hours=8))
        happened = max(happened, night.previous + timedelta(seconds=1))
    for mandator, settings in configuration.mandators.items():
        _publish_feedback(night, crm_url, vendor, mandator, settings, happened)


def _create_lists(vendor: VendorState, configuration: Configuration, credentials: tuple[str, str]) -> None:
    for mandator, settings in configuration.mandators.items():
        vendor.add_mandator(settings.mandator_id, *credentials)
        if settings.canary_address:
            vendor.unsubscribe(settings.mandator_id, settings.canary_address)
        for name, recipient_list in settings.lists.items():
            chosen = list_settings(configuration, mandator, name)
            attributes = chosen.schema.list_attributes
            vendor.add_list(settings.mandator_id, recipient_list.recipient_list_id, chosen.pick.name, attributes)


def _publish_feedback(
    night: Night, crm_url: str, vendor: VendorState, mandator: str, settings: MandatorSettings, happened: datetime
) -> None:
    """Let people unsubscribe, bounce and be blocked at the vendor, and publish most of it as feedback."""
    mandator_id = settings.mandator_id
    people = demo_addresses(crm_url, night.day, mandator)
    milliseconds = str(int(happened.timestamp() * 1000))
    unsubscribed = [*(night.unsubscribing if mandator == "nord" else ()), *people.unsubscribed]
    for address in unsubscribed:
        vendor.unsubscribe(mandator_id, address)
    for address in people.bounced:
        vendor.bounce(mandator_id, address)
    for pattern in people.blocked_patterns:
        vendor.block(mandator_id, pattern)
    published, late = unsubscribed[:-_PUBLISHED_LATE], unsubscribed[-_PUBLISHED_LATE:]
    later = night.moment + timedelta(hours=6)
    vendor.publish(mandator_id, "getUnsubscribes", [[address, milliseconds] for address in published])
    vendor.publish(mandator_id, "getUnsubscribes", [[address, milliseconds] for address in late], later)
    vendor.publish(mandator_id, "getOutBounces", [[address, milliseconds] for address in people.bounced])
