"""What the configured lists ask of the CRM."""

from campaign_sync.config import Configuration, PickSettings, RecipientListSettings
from campaign_sync.crm.port import SELECTION_COLUMNS, CrmNeeds, Pick
from campaign_sync.domain.filter import filter_fields


def pick_of(settings: PickSettings) -> Pick:
    """Return the people of a selection or exclusion."""
    if settings.filter is not None:
        condition = settings.filter.condition
        return Pick("filter", ", ".join(sorted(filter_fields(condition))), settings.entity_type, condition)
    if settings.query is not None:
        return Pick("query", settings.query, settings.entity_type)
    if settings.report is not None:
        return Pick("report", settings.report)
    return Pick("marketing_list", settings.marketing_list or "")


def crm_needs(configuration: Configuration) -> CrmNeeds:
    """Return all selections, exclusions and columns of all lists."""
    lists = [settings for mandator in configuration.mandators.values() for settings in mandator.lists.values()]
    picks = frozenset(pick for settings in lists for pick in _picks(settings))
    attributes = frozenset(column for settings in lists for column in settings.attributes.values())
    fields = frozenset(field for pick in picks if pick.condition for field in filter_fields(pick.condition))
    return CrmNeeds(picks, (attributes | fields) - frozenset(SELECTION_COLUMNS))


def _picks(settings: RecipientListSettings) -> list[Pick]:
    return [pick_of(entry) for entry in (settings.select, *settings.exclude)]
