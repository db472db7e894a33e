"""Records that the configuration names: by their name, or by their id."""

from collections.abc import Mapping, Sequence
from typing import Any

from campaign_sync.crm.port import CrmSetupError
from campaign_sync.crm.salesforce.api import SalesforceApi, literal
from campaign_sync.crm.salesforce.ids import is_id, long_id
from campaign_sync.domain.text import normalize_text


def records_named(
    api: SalesforceApi, sobject: str, name: str, place: str, fields: Sequence[str] = ("Id", "Name")
) -> list[Mapping[str, Any]]:
    """Return the records of an object with this name, and the one with this id.

    A name may look like an id: of 15 letters and digits, as `2026NewsletterA`.

    Args:
        api: of the org.
        sobject: the object.
        name: as in the configuration.
        place: where that is, for messages.
        fields: what is read of them; Id and Name among them.

    Raises:
        CrmError: they can't be read.
        CrmSetupError: it is the id of a record, and the name of another.
    """
    select = f"SELECT {', '.join(fields)} FROM {sobject}"  # noqa: S608 - names of ours
    named = api.rows(f"{select} WHERE Name = {literal(name)}", place)
    rows = [row for row in named if normalize_text(row["Name"] or "") == normalize_text(name)]
    if not is_id(name) or not name.startswith(api.key_prefix(sobject)):
        return rows
    by_id = list(api.rows(f"{select} WHERE Id = {literal(long_id(name))}", place))
    others = [row["Id"] for row in rows if row["Id"] != long_id(name)]
    if by_id and others:
        raise CrmSetupError(
            f"{place}: {name!r} is the id of a {sobject} record, and the name of another ({', '.join(others)}); rename "
            "that, or name it by its id"
        )
    return by_id or rows


def id_of(api: SalesforceApi, sobject: str, name: str, place: str) -> str:
    """Return the id of the only record of an object with this name, or id.

    Raises:
        CrmSetupError: there is none, or there are several; the message names their ids.
    """
    ids = sorted(str(row["Id"]) for row in records_named(api, sobject, name, place))
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise CrmSetupError(
            f"{place}: Salesforce has {len(ids)} {sobject} records {name!r}; name it by its id: {', '.join(ids)}"
        )
    raise CrmSetupError(f"{place}: Salesforce has no {sobject} {name!r} that the user may see; correct the name or id")
