"""Dynamics 365 for the conformance tests, with its consents in each of the three places."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pydantic import SecretStr

from campaign_sync.config.crm_dataverse import DataverseSettings
from campaign_sync.crm.dataverse.source import DataverseSource
from campaign_sync.crm.mirror.adapter import MirrorCrm
from campaign_sync.crm.port import Crm, CrmNeeds
from campaign_sync.crm.testing import (
    COLUMNS,
    EVERYBODY,
    NEWS,
    OFFERS,
    OPT_INS,
    PRESS,
    Capability,
    Consent,
    CrmUnderTest,
    Person,
    crm_context,
)
from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync_tests.crm.dataverse.stand_in import CLIENT, SECRET, TENANT, Dataverse

NEEDS = CrmNeeds(frozenset({EVERYBODY}), frozenset(COLUMNS))

_FAULTS = {
    *(Capability.LOSES_ROWS, Capability.UNREACHABLE, Capability.CUT, Capability.REFUSES_WRITES),
}

_COLUMNS = {NEWS: "cs_news", OFFERS: "cs_offers", PRESS: "cs_press"}


def dataverse_settings(url: str, opt_ins: Mapping[str, Mapping[str, Any]], **more: Any) -> DataverseSettings:
    """Return settings for the stand-in.

    Args:
        url: where it is.
        opt_ins: the place of each opt-in.
        more: further settings.
    """
    own = {
        opt_in.opt_in_id: {"mandator": opt_in.mandator, "description": opt_in.description, **opt_ins[opt_in.opt_in_id]}
        for opt_in in OPT_INS
        if opt_in.opt_in_id in opt_ins
    }
    settings = {
        "url": url,
        "login_url": url,
        "tenant_id": TENANT,
        "client_id": SecretStr(CLIENT),
        "client_secret": SecretStr(SECRET),
        "contact": {"first_name": "firstname", "city": "address1_city"},
        "bounce": {"contact": {"state": "cs_bounced", "at": "cs_bouncedon"}},
        "opt_ins": own,
    }
    return DataverseSettings.model_validate({**settings, **more})


def field_settings(url: str, **more: Any) -> DataverseSettings:
    """Return settings with all consents in columns of contacts."""
    fields = {
        opt_in_id: {"field": {"contact": {"granted": column, "at": f"{column}on"}}}
        for opt_in_id, column in _COLUMNS.items()
    }
    return dataverse_settings(url, fields, **more)


class DataverseTables(CrmUnderTest):
    """A Dataverse with a server of its own."""

    entity_types = (EntityType.CONTACT,)
    largest_chunk = 20

    def __init__(self, dataverse: Dataverse, url: str, folder: Path) -> None:
        self._dataverse, self._url, self._folder = dataverse, url, folder
        self._list = dataverse.add("list", listname=EVERYBODY.name, createdfromcode=2)

    @abstractmethod
    def settings(self, url: str) -> DataverseSettings:
        """Return the section `crm`."""

    def open(self) -> Crm:
        settings = self.settings(self._url)
        context = crm_context(self._folder, NEEDS)
        source = DataverseSource(settings, NEEDS, context.folder, page_rows=self.largest_chunk, wait=lambda _: None)
        return MirrorCrm(source, settings, context, settings.url)

    def add_people(self, people: Sequence[Person]) -> None:
        for person in people:
            values = {"emailaddress1": person.email, "firstname": person.first_name, "address1_city": person.city}
            self._dataverse.add("contact", person.entity.entity_id, **values, donotbulkemail=False)

    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        for _, entity_id in members:
            self._dataverse.add("listmember", listid=self._list, entityid=entity_id)

    def bounced(self) -> Mapping[str, str]:
        contacts = self._dataverse.rows["contact"].values()
        return {contact["emailaddress1"]: "hard" for contact in contacts if contact.get("cs_bounced")}

    def losing_rows(self) -> AbstractContextManager[object]:
        return patch.object(self._dataverse, "loses", new=True)

    def unreachable(self) -> AbstractContextManager[object]:
        return patch.object(self, "_url", "http://127.0.0.1:9")

    def cut(self) -> AbstractContextManager[object]:
        return patch.object(self._dataverse, "hangs_up", new=True)

    def refusing_writes(self, entities: Collection[Entity] = ()) -> AbstractContextManager[object]:
        refused = {entity.entity_id for entity in entities}
        return patch.multiple(self._dataverse, refused=refused, refuses_all=not entities)


class FieldTables(DataverseTables):
    """Consents in columns with dates."""

    capabilities = frozenset(
        {*_FAULTS, Capability.DATES, Capability.REMOVABLE_CONSENTS, Capability.REFUSES_SOME},
    )

    def settings(self, url: str) -> DataverseSettings:
        return field_settings(url)

    def add_consents(self, consents: Sequence[Consent]) -> None:
        for consent in consents:
            at = f"{consent.at:%Y-%m-%dT%H:%M:%SZ}" if consent.at else None
            self._set(consent, consent.kind == "granted", at)

    def remove_consent(self, consent: Consent) -> None:
        self._set(consent, False, None)

    def withdrawn(self) -> Collection[tuple[str, str]]:
        return [
            (f"contact:{key}", opt_in_id)
            for key, contact in self._dataverse.rows["contact"].items()
            for opt_in_id, column in _COLUMNS.items()
            if contact.get(f"{column}on") and not contact.get(column)
        ]

    def _set(self, consent: Consent, granted: bool, at: str | None) -> None:
        column = _COLUMNS[consent.opt_in_id]
        contact = self._dataverse.rows["contact"][consent.person.entity.entity_id]
        contact.update({column: granted, f"{column}on": at})


class PurposeTables(DataverseTables):
    """Consents of Customer Insights - Journeys: of addresses, for a purpose or a topic, without dates."""

    capabilities = frozenset({*_FAULTS, Capability.UNDATED, Capability.REMOVABLE_CONSENTS})
    by_address = True

    def __init__(self, dataverse: Dataverse, url: str, folder: Path) -> None:
        super().__init__(dataverse, url, folder)
        self._purposes = {name: dataverse.add("msdynmkt_purpose", msdynmkt_name=name) for name in ("News", "Press")}
        self._topic = dataverse.add(
            "msdynmkt_topic", msdynmkt_name="Offers", msdynmkt_purposeid=self._purposes["Press"]
        )

    def settings(self, url: str) -> DataverseSettings:
        places = {
            NEWS: {"purpose": "News"},
            OFFERS: {"purpose": self._purposes["Press"], "topic": "Offers"},
            PRESS: {"purpose": "Press"},
        }
        return dataverse_settings(url, places)

    def add_consents(self, consents: Sequence[Consent]) -> None:
        for consent in consents:
            key = (self.subject(consent.person), consent.opt_in_id)
            values = {"msdynmkt_value": 534120001 if consent.kind == "granted" else 534120002}
            about = {
                "msdynmkt_contactpointvalue": (consent.person.email or "").strip(),
                "msdynmkt_contactpointtype": 534120000,
                "msdynmkt_contactpointconsenttype": 534120001 if consent.opt_in_id == OFFERS else 534120000,
                "msdynmkt_purposeid": self._purposes["News" if consent.opt_in_id == NEWS else "Press"],
                "msdynmkt_topicid": self._topic if consent.opt_in_id == OFFERS else None,
            }
            self._dataverse.add("msdynmkt_contactpointconsent4", "/".join(key).replace("@", "-"), **about, **values)

    def remove_consent(self, consent: Consent) -> None:
        key = f"{self.subject(consent.person)}/{consent.opt_in_id}".replace("@", "-")
        del self._dataverse.rows["msdynmkt_contactpointconsent4"][key]

    def withdrawn(self) -> Collection[tuple[str, str]]:
        subjects = {self._purposes["News"]: NEWS, self._topic: OFFERS, self._purposes["Press"]: PRESS}
        return [
            (
                row["msdynmkt_contactpointvalue"].strip().lower(),
                subjects[row.get("msdynmkt_topicid") or row["msdynmkt_purposeid"]],
            )
            for row in self._dataverse.rows["msdynmkt_contactpointconsent4"].values()
            if row["msdynmkt_value"] == 534120002
        ]


class HistoryTables(DataverseTables):
    """Consents in a table with their history."""

    capabilities = frozenset(
        {
            *_FAULTS,
            Capability.EVENTS,
            Capability.DATES,
            Capability.UNDATED,
            Capability.ANY_WORD,
            Capability.REFUSES_SOME,
        }
    )

    def settings(self, url: str) -> DataverseSettings:
        table = {
            "table": "cs_consentlog",
            "contact": "cs_contactid",
            "opt_in": "cs_consent",
            "kind": "cs_what",
            "granted": ["In"],
            "withdrawn": ["out"],
            "at": "cs_on",
            "evidence": "cs_evidence",
        }
        places = {opt_in.opt_in_id: {"value": f" #{opt_in.opt_in_id} "} for opt_in in OPT_INS}
        return dataverse_settings(url, places, consents=table)

    def add_consents(self, consents: Sequence[Consent]) -> None:
        for consent in consents:
            self._dataverse.add(
                "cs_consentlog",
                cs_contactid=consent.person.entity.entity_id,
                cs_consent=f"#{consent.opt_in_id}",
                cs_what={"granted": "in", "withdrawn": "out"}.get(consent.kind, consent.kind),
                cs_on=f"{consent.at:%Y-%m-%dT%H:%M:%SZ}" if consent.at else None,
            )

    def withdrawn(self) -> Collection[tuple[str, str]]:
        assert all(len(row.get("cs_evidence") or "") <= 40 for row in self._dataverse.rows["cs_consentlog"].values())
        return [
            (f"contact:{row['cs_contactid']}", row["cs_consent"][1:])
            for row in self._dataverse.rows["cs_consentlog"].values()
            if row["cs_what"] == "out"
        ]
