"""The permission set of the integration user, as metadata that Salesforce deploys.

https://developer.salesforce.com/docs/atlas.en-us.api_meta.meta/api_meta/meta_permissionset.htm
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree as ET

from campaign_sync.config.crm_salesforce import SalesforceSettings
from campaign_sync.crm.port import CrmNeeds
from campaign_sync.crm.salesforce.field_permissions import permission_field
from campaign_sync.crm.salesforce.opt_outs import INDIVIDUAL_OPT_OUTS
from campaign_sync.crm.salesforce.required_objects import RequiredObject, required_objects, uses_purposes
from campaign_sync.crm.salesforce.schema import OBJECTS
from campaign_sync.crm.salesforce.stated_consents import BRAND, CONSENT_RECORD
from campaign_sync.domain.entity import EntityType

PERMISSION_SET: Final = "CampaignSync"
"""The API name."""

_NAMESPACE = "http://soap.sforce.com/2006/04/metadata"

_VIEW_ALL_FIELDS_SINCE = 63.0
"""The version of the API that expects an answer to View All Fields; earlier ones refuse it."""

_WITHOUT_PERMISSIONS = frozenset({"CampaignMember"})
"""Objects that are seen with others: campaign members with the campaign, and the contact or lead."""

_PARENTS: Final = {
    ("Contact", "account"): ("Account", "AccountId"),
    ("Contact", "reportsto"): ("Contact", "ReportsToId"),
    ("Account", "parent"): ("Account", "ParentId"),
}
"""The object and the field of a relationship, by its object and its name."""


@dataclass
class ObjectRights:
    """What the user may do with an object."""

    edit: bool = False
    create: bool = False


@dataclass
class PermissionSet:
    """All permissions. Every object may be read, all of its records."""

    objects: dict[str, ObjectRights] = field(default_factory=lambda: defaultdict(ObjectRights))
    fields: dict[str, bool] = field(default_factory=dict)
    """Whether a field may be edited, by object and name."""
    user_permissions: Sequence[str] = ()
    by_hand: list[str] = field(default_factory=list)
    """Fields that lists name, and of which it isn't known here where they are."""

    def files(self, api_version: str) -> dict[str, str]:
        """Return the contents of the files of a deployment, by their paths."""
        return {
            "package.xml": _package(api_version),
            f"permissionsets/{PERMISSION_SET}.permissionset": _document(self, api_version),
        }

    def add(self, wanted: RequiredObject) -> None:
        """Add what is needed of an object."""
        if wanted.name in _WITHOUT_PERMISSIONS:
            return
        rights = self.objects[wanted.name]
        rights.edit |= bool(wanted.write)
        rights.create |= bool(wanted.create)
        for path in wanted.read:
            self._add_field(wanted.name, path, is_edited=False)
        for path in (*wanted.write, *wanted.create):
            self._add_field(wanted.name, path, is_edited=True)

    def _add_field(self, sobject: str, path: str, *, is_edited: bool) -> None:
        first, _, rest = path.partition(".")
        if rest:
            parent = _PARENTS.get((sobject, first.lower()))
            if parent is None:
                self.by_hand.append(f"{sobject}.{path}")
                self._add_field(sobject, re.sub("__r$", "__c", first, flags=re.IGNORECASE), is_edited=False)
                return
            self._add_field(sobject, parent[1], is_edited=False)
            self._add_field(parent[0], rest, is_edited=is_edited)
        elif named := permission_field(sobject, path):
            name = ".".join(named)
            known = next((other for other in self.fields if other.lower() == name.lower()), name)
            self.fields[known] = self.fields.get(known, False) or is_edited


def permission_set(
    settings: SalesforceSettings, needs: CrmNeeds, *, person_accounts: bool = False, individuals: bool = False
) -> PermissionSet:
    """Return what the integration user needs for a configuration, and nothing else.

    Args:
        settings: the section `crm`.
        needs: what the lists ask of the CRM.
        person_accounts: whether the org has person accounts.
        individuals: whether the org has individuals (Data Protection and Privacy).
    """
    permissions = PermissionSet(user_permissions=_user_permissions(needs))
    permissions.add(RequiredObject("Account", ()))  # Salesforce grants contacts only with accounts
    for wanted in required_objects(settings, has_person_accounts=person_accounts):
        permissions.add(wanted)
    if individuals:
        permissions.add(RequiredObject("Individual", INDIVIDUAL_OPT_OUTS))
    if uses_purposes(settings):
        permissions.add(RequiredObject(CONSENT_RECORD, (BRAND,)))
    for entity_type in settings.entity_types:
        permissions.add(RequiredObject(OBJECTS[entity_type], list(_columns(settings, entity_type, needs))))
    return permissions


def _user_permissions(needs: CrmNeeds) -> Sequence[str]:
    # View Setup depends on View Roles.
    has_reports = any(pick.kind == "report" for pick in needs.picks)
    return ("ApiEnabled", *(["RunReports"] if has_reports else []), "ViewRoles", "ViewSetup")


def _columns(settings: SalesforceSettings, entity_type: EntityType, needs: CrmNeeds) -> Iterator[str]:
    """Yield the fields of a type that lists name.

    A name that only another type has an entry for is a field there. Names without any entry are fields of all types.
    """
    own = settings.people
    for name in sorted(needs.columns):
        has_entry = name in own[entity_type]
        if has_entry or not any(name in fields for fields in own.values()):
            path = settings.field_of(entity_type, name)
            if has_entry or permission_field(OBJECTS[entity_type], path) or _is_path(entity_type, path):
                yield path


def _is_path(entity_type: EntityType, path: str) -> bool:
    relationship = path.lower().partition(".")[0] if "." in path else ""
    return relationship.endswith("__r") or (OBJECTS[entity_type], relationship) in _PARENTS


def _package(api_version: str) -> str:
    package = ET.Element("Package", xmlns=_NAMESPACE)
    types = ET.SubElement(package, "types")
    _leaf(types, "members", PERMISSION_SET)
    _leaf(types, "name", "PermissionSet")
    _leaf(package, "version", api_version)
    return _text(package)


def _document(permissions: PermissionSet, api_version: str) -> str:
    root = ET.Element("PermissionSet", xmlns=_NAMESPACE)
    _leaf(root, "description", "What campaign-sync reads and writes.")
    for name, is_edited in sorted(permissions.fields.items()):
        entry = ET.SubElement(root, "fieldPermissions")
        _leaf(entry, "editable", is_edited)
        _leaf(entry, "field", name)
        _leaf(entry, "readable", True)
    _leaf(root, "hasActivationRequired", False)
    _leaf(root, "label", "Campaign Sync")
    for name, rights in sorted(permissions.objects.items()):
        entry = ET.SubElement(root, "objectPermissions")
        _leaf(entry, "allowCreate", rights.create)
        _leaf(entry, "allowDelete", False)
        _leaf(entry, "allowEdit", rights.edit)
        _leaf(entry, "allowRead", True)
        _leaf(entry, "modifyAllRecords", False)
        _leaf(entry, "object", name)
        if float(api_version) >= _VIEW_ALL_FIELDS_SINCE:
            _leaf(entry, "viewAllFields", False)
        _leaf(entry, "viewAllRecords", True)
    for name in permissions.user_permissions:
        entry = ET.SubElement(root, "userPermissions")
        _leaf(entry, "enabled", True)
        _leaf(entry, "name", name)
    return _text(root)


def _leaf(parent: ET.Element, tag: str, value: str | bool) -> None:
    ET.SubElement(parent, tag).text = str(value).lower() if isinstance(value, bool) else value


def _text(root: ET.Element) -> str:
    ET.indent(root, "    ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
