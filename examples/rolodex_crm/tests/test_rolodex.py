"""The conformance tests on Rolodex."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import pytest
from pydantic import SecretStr
from rolodex import Rolodex, serving
from rolodex_crm import ADAPTER, RolodexSettings

from campaign_sync.crm.port import Crm, CrmNeeds
from campaign_sync.crm.testing import (
    COLUMNS,
    EVERYBODY,
    OPT_INS,
    Capability,
    Consent,
    CrmConformance,
    CrmUnderTest,
    Person,
    crm_context,
)
from campaign_sync.domain.entity import Entity, EntityType

NEEDS = CrmNeeds(frozenset({EVERYBODY}), frozenset(COLUMNS))


class RolodexUnderTest(CrmUnderTest):
    """A Rolodex with a server of its own."""

    capabilities = frozenset(Capability) - {Capability.REPORTS, Capability.EVENTS, Capability.ANY_MEMBER}
    entity_types = (EntityType.CONTACT,)
    largest_chunk = 20

    def __init__(self, rolodex: Rolodex, url: str, folder: Path) -> None:
        self._rolodex, self._url, self._folder = rolodex, url, folder
        rolodex.lists[EVERYBODY.name] = []

    def open(self) -> Crm:
        opt_ins = {
            opt_in.opt_in_id: {"mandator": opt_in.mandator, "description": opt_in.description} for opt_in in OPT_INS
        }
        settings = RolodexSettings.model_validate(
            {
                "adapter": "rolodex",
                "base_url": self._url,
                "token": SecretStr("sesame"),
                "page_size": self.largest_chunk,
                "opt_ins": opt_ins,
            }
        )
        return ADAPTER.open(settings, crm_context(self._folder, NEEDS))

    def add_people(self, people: Sequence[Person]) -> None:
        for person in people:
            self._rolodex.contacts[person.entity.entity_id] = {
                "id": person.entity.entity_id,
                "email": person.email,
                "first_name": person.first_name,
                "city": person.city,
                "consents": {},
                "bounced": None,
            }

    def add_members(self, members: Sequence[tuple[str, str]]) -> None:
        self._rolodex.lists[EVERYBODY.name] += [entity_id for _, entity_id in members]

    def add_consents(self, consents: Sequence[Consent]) -> None:
        for consent in consents:
            state = {"status": consent.kind, "at": consent.at.isoformat() if consent.at else None}
            self._consents_of(consent)[consent.opt_in_id] = state

    def remove_consent(self, consent: Consent) -> None:
        del self._consents_of(consent)[consent.opt_in_id]

    def withdrawn(self) -> Collection[tuple[str, str]]:
        return [
            (f"contact:{contact_id}", opt_in_id)
            for contact_id, contact in self._rolodex.contacts.items()
            for opt_in_id, state in contact["consents"].items()
            if state["status"] == "withdrawn"
        ]

    def bounced(self) -> Mapping[str, str]:
        contacts = self._rolodex.contacts.values()
        return {contact["email"]: contact["bounced"]["kind"] for contact in contacts if contact["bounced"]}

    def losing_rows(self) -> AbstractContextManager[object]:
        return patch.object(self._rolodex, "loses", new=True)

    def unreachable(self) -> AbstractContextManager[object]:
        return patch.object(self, "_url", "http://127.0.0.1:9")

    def cut(self) -> AbstractContextManager[object]:
        return patch.object(self._rolodex, "hangs_up", new=True)

    def refusing_writes(self, entities: Collection[Entity] = ()) -> AbstractContextManager[object]:
        refused = {entity.entity_id for entity in entities}
        return patch.multiple(self._rolodex, refused=refused, refuses_all=not entities)

    def _consents_of(self, consent: Consent) -> dict[str, object]:
        consents: dict[str, object] = self._rolodex.contacts[consent.person.entity.entity_id]["consents"]
        return consents


class TestRolodex(CrmConformance):
    @pytest.fixture
    def under_test(self, tmp_path: Path) -> Iterator[RolodexUnderTest]:
        rolodex = Rolodex()
        with serving(rolodex) as url:
            yield RolodexUnderTest(rolodex, url, tmp_path)
