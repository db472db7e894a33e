"""People who are selected and excluded."""

from typing import Any

import pytest

from campaign_sync.domain.entity import Entity, EntityType
from campaign_sync.domain.exclusion import Excluded, check_exclusions
from campaign_sync.domain.filter_columns import UNREADABLE
from campaign_sync.domain.rejection import Reason
from campaign_sync.domain.selection import split_by_consent
from campaign_sync.domain.suppression import Suppressed
from campaign_sync_tests.domain.people import crm_selection

EXCLUDED = Excluded.of(
    {
        "exclude.0": [(Entity(EntityType.CONTACT, "1"), None), (Entity(EntityType.LEAD, "7"), " BO@example.org")],
        "exclude.1": [(Entity(EntityType.ACCOUNT, "8"), "no address")],
        "exclude.2": [],
    }
)


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        ({"entity_id": "1"}, Reason.EXCLUDED),
        ({"entity_id": "2"}, None),
        ({"entity_type": "lead"}, None),
        ({"entity_id": "3", "email": "Bo@EXAMPLE.org "}, Reason.EXCLUDED),
        ({"entity_type": "account", "entity_id": "8"}, Reason.EXCLUDED),
        ({"entity_id": "1", "consent_kind": None}, Reason.NO_CONSENT),
        ({"entity_id": "1", "consent_kind": "withdrawn"}, Reason.CONSENT_WITHDRAWN),
        ({"entity_id": "1", "email": None}, Reason.NO_ADDRESS),
        ({"entity_id": "1", "entity_type": "user"}, Reason.UNKNOWN_ENTITY_TYPE),
    ],
)
def test_an_exclusion_is_the_reason_only_for_people_who_would_be_in_the_list(
    person: dict[str, Any], reason: Reason | None
) -> None:
    split = split_by_consent(crm_selection([person]), Suppressed(), EXCLUDED)
    assert split.rejections["reason"].tolist() == ([] if reason is None else [reason.value])
    assert len(split.rows) + len(split.rejections) == 1


def test_a_record_in_doubt_is_rejected_unless_there_is_another_reason() -> None:
    people = crm_selection([{"entity_id": "2"}, {"entity_id": "3"}, {"entity_id": "4", "consent_kind": None}])
    split = split_by_consent(people.assign(**{UNREADABLE: [False, True, True]}), Suppressed())
    assert split.rows["entity_id"].tolist() == ["2"]
    assert UNREADABLE not in split.rows
    assert split.rejections["reason"].tolist() == [Reason.NOT_UTF8.value, Reason.NO_CONSENT.value]


def test_an_exclusion_without_records_is_a_warning() -> None:
    empty = check_exclusions(EXCLUDED.counts)
    assert (empty.passed, empty.stops) == (False, False)
    assert empty.summary.startswith("exclude.2: no record is in it")
    assert check_exclusions({"exclude.0": 2}).passed
