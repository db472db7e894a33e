"""`campaign-sync crm permission-set`: writes the rights that a configuration needs, as metadata for Salesforce."""

from collections.abc import Sequence
from pathlib import Path

from campaign_sync.cli.error_handling import CommandError
from campaign_sync.config import CrmSettings, load_configuration, load_crm
from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.needs import crm_needs
from campaign_sync.crm.port import CrmNeeds
from campaign_sync.crm.salesforce.permission_set import permission_set


def write_permission_set(folder: Path, *, person_accounts: bool, individuals: bool) -> Sequence[str]:
    """Write package.xml and the permission set into a folder, which the Salesforce CLI and Workbench deploy.

    The configuration needs no more than the section `crm`: then every field that it names may be read.

    Args:
        folder: where to write. The files must not exist.
        person_accounts: whether the org has person accounts.
        individuals: whether the org has individuals.

    Returns:
        Fields that lists name, and that a person must grant: it isn't known here which object they are of.

    Raises:
        ConfigurationError: the configuration has mistakes.
        CommandError: the CRM isn't Salesforce, or a file exists or can't be written.
    """
    settings, needs = _settings_and_needs()
    if not isinstance(settings, SalesforceSettings):
        raise CommandError("only Salesforce has permission sets, and crm.adapter names another CRM; see its document")
    permissions = permission_set(settings, needs, person_accounts=person_accounts, individuals=individuals)
    files = {folder / path: text for path, text in permissions.files(settings.api_version).items()}
    for file in files:
        if file.exists():
            raise CommandError(f"{file} exists, and isn't overwritten; name another folder with --output")
    for file, text in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{file} can't be written ({error.strerror}); name another folder") from None
    return permissions.by_hand


def _settings_and_needs() -> tuple[CrmSettings, CrmNeeds]:
    section = load_crm()
    if section is None:
        configuration = load_configuration()
        return configuration.crm, crm_needs(configuration)
    if isinstance(section, SalesforceSettings):
        return section, CrmNeeds(columns=frozenset({*section.contact, *section.lead, *section.account}))
    return section, CrmNeeds()
