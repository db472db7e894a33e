"""What the application user lacks: rights on tables, and columns with column security."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from campaign_sync.crm.dataverse.environment import Environment
from campaign_sync.crm.dataverse.errors import SECURITY_ROLES
from campaign_sync.crm.dataverse.needed_rights import NeededRight
from campaign_sync.crm.port import CrmError
from campaign_sync.distribution import manual_page

_log = logging.getLogger(__name__)

_WHOLE_ORGANIZATION = "Global"

_OF_OWN_RECORDS = frozenset({"Create", "Append"})
"""What is done with records of our own only, so that any depth will do."""

_NAMES_PER_CALL = 40

_TITLES = {"AppendTo": "Append To"}
"""What the editor of security roles calls a right, where Dataverse has another name."""

_ALLOWS = {"CanRead": "Read", "CanUpdate": "Update", "CanCreate": "Create"}
"""What the columns of a column security profile are called, by their names in answers."""

_Depths = set[tuple[str, str]]
"""The privileges that the user has, each with a depth. Several roles may give the same one."""


def missing_rights(environment: Environment, user_id: str, needed: Iterable[NeededRight]) -> Iterator[str]:
    """Yield a sentence about the rights that the application user lacks, or has for a part of the records only.

    Dynamics 365 hides the other records without an error, or refuses to change them.
    """
    own = _depths(environment, user_id, "RetrieveUserPrivileges()")
    if own is None:
        _log.warning(
            "Dynamics 365 doesn't say which rights the application user has; compare its security role with the table "
            f"in {manual_page('crm-dynamics.md')}: without Organization on Read it hides people, and withdrawals with "
            "them"
        )
        return
    privileges = _named(environment, needed)
    missing = {right: name for right, name in privileges.items() if not _is_given(right, name, own)}
    by_team = _of_teams(environment, user_id, sorted(set(missing.values())))
    lacking = ", ".join(
        f"{_TITLES.get(right.action, right.action)} on {right.table} ({name})"
        for right, name in missing.items()
        if not _is_given(right, name, by_team)
    )
    if lacking:
        yield (
            f"the application user lacks {lacking} for the whole organization, without which Dynamics 365 hides "
            "records, or refuses to change them; set each of them to Organization in its security role "
            f"({SECURITY_ROLES})"
        )


def _named(environment: Environment, needed: Iterable[NeededRight]) -> dict[NeededRight, str]:
    """Return the names of the privileges; tables that don't exist have none, and are reported elsewhere."""
    return {
        right: name
        for right in dict.fromkeys(needed)
        if (name := environment.metadata.privileges(right.table).get(right.action))
    }


def _is_given(right: NeededRight, name: str, depths: _Depths) -> bool:
    if right.action in _OF_OWN_RECORDS:
        return any(name == given for given, _ in depths)
    return (name, _WHOLE_ORGANIZATION) in depths


def _of_teams(environment: Environment, user_id: str, names: Sequence[str]) -> _Depths:
    """Return these privileges with their depths. The user's own list shows those of teams without their depth.

    See https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/retrieveuserprivileges.
    """
    depths: _Depths = set()
    for start in range(0, len(names), _NAMES_PER_CALL):
        listed = quote(json.dumps(names[start : start + _NAMES_PER_CALL]))
        function = f"RetrieveUserSetOfPrivilegesByNames(PrivilegeNames=@names)?@names={listed}"
        try:
            depths |= _depths(environment, user_id, function) or set()
        except CrmError:
            break  # what it would add isn't known
    return depths


def _depths(environment: Environment, user_id: str, function: str) -> _Depths | None:
    path = f"/systemusers({user_id})/Microsoft.Dynamics.CRM.{function}"
    answer = environment.api.find(path, "the application user's privileges")
    if answer is None:
        return None
    return {(item["PrivilegeName"], item["Depth"]) for item in answer["RolePrivileges"]}


def secured_columns(
    environment: Environment, user_id: str, used: Mapping[str, Iterable[tuple[str, str]]]
) -> Iterator[str]:
    """Yield the columns that column security keeps from the application user.

    It reads those that are hidden empty, without an error.

    Args:
        environment: what is read.
        user_id: of the application user.
        used: the tables and columns that are used, by what must be allowed: CanRead, CanUpdate or CanCreate.
    """
    secured = {
        (right, f"{table}.{known.stored(column)}"): known.secured[known.stored(column)]
        for right, columns in used.items()
        for table, column in dict.fromkeys(columns)
        if (known := environment.metadata.find(table)) and known.stored(column) in known.secured
    }
    if not secured:
        return
    path = f"/systemusers({user_id})/Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivileges()"
    answer = environment.api.find(path, "the application user's column security") or {}
    allowed: dict[str, Any] = {str(item["AttributeId"]): item for item in answer.get("AttributePrivileges") or ()}
    for (right, title), identifier in secured.items():
        if not allowed.get(identifier, {}).get(right):
            effect = f"hides {title} from" if right == "CanRead" else f"doesn't let {title} be written by"
            yield (
                f"column security {effect} the application user; add the user to a column security profile with "
                f"{_ALLOWS[right]} for this column (Power Platform admin center, Environments, Settings, Users + "
                "permissions, Column security profiles)"
            )
