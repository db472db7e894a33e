"""A read that lost rows on the way is refused."""

import re
from collections.abc import Callable

import pytest

from campaign_sync.crm.port import CrmError, CrmSnapshot, Pick
from campaign_sync.crm.sql import schema
from campaign_sync_tests.crm.lossy_driver import losing
from campaign_sync_tests.crm.small_crm import EVERYBODY, NOON, SmallCrm

_REPORT = Pick("report", "Visitors")


@pytest.fixture
def crm(small_direct: SmallCrm) -> SmallCrm:
    """A CRM of 25 people and a member of no type, whose report names everybody twice."""
    small = small_direct
    for number in range(25):
        small.person(f"c{number:02}", f"person{number}@example.org")
        small.consent(f"c{number:02}")
        small.consent(f"c{number:02}", event="withdrawn", days=1)
        small.consent(f"c{number:02}", event="revoked", days=2)
    small.execute("CREATE VIEW visitors AS SELECT id AS entity_id FROM contact UNION ALL SELECT id FROM contact")
    small.add(schema.report, id="r", name="Visitors", entity_type="contact", view_name="visitors")
    small.add(schema.marketing_list_member, marketing_list_id="all", entity_type="partner", entity_id="p1")
    small.add(schema.address_state, address="person1@example.org", bounce_kind="hard", bounced_at=NOON)
    return small


def select(pick: Pick) -> Callable[[CrmSnapshot], int]:
    return lambda snapshot: sum(len(frame) for frame in snapshot.select(pick, "news", [], chunk_rows=10))


def members(snapshot: CrmSnapshot) -> int:
    return sum(len(chunk) for chunk in snapshot.members(EVERYBODY))


def suppression(snapshot: CrmSnapshot) -> int:
    return len(snapshot.suppression("nord"))


def consenting(snapshot: CrmSnapshot) -> int:
    return sum(map(len, snapshot.consenting("news")))


READS = [
    ("ORDER BY picked.entity_id", 1, select(EVERYBODY), 26),
    ("ORDER BY picked.entity_id", 2, select(EVERYBODY), 26),
    ("ORDER BY picked.entity_id", 2, select(_REPORT), 25),
    ("ORDER BY marketing_list_member.entity_type", 1, select(EVERYBODY), 26),
    ("LEFT OUTER JOIN contact ON contact.id = picked.entity_id", 1, members, 25),
    ("FROM address_state ORDER BY", 1, suppression, 26),
    ("LEFT OUTER JOIN contact ON", 1, suppression, 26),
    ("JOIN consent_event ON", 1, consenting, 0),
]


@pytest.mark.parametrize(
    ("query", "part", "read", "rows"),
    READS,
    ids=[
        "first part of a list",
        "a part in the middle",
        "of a report",
        "members of no type",
        "members",
        "bounces",
        "withdrawals",
        "consents",
    ],
)
def test_a_read_that_loses_a_part_is_refused_with_both_numbers(
    crm: SmallCrm, query: str, part: int, read: Callable[[CrmSnapshot], int], rows: int
) -> None:
    with crm.crm.snapshot() as snapshot:
        assert read(snapshot) == rows
    with losing(query, part=part) as loss, crm.crm.snapshot() as snapshot, pytest.raises(CrmError) as caught:
        read(snapshot)
    assert loss.lost > 0
    numbers = re.search(r"the CRM counts (\d+) rows, and (\d+) arrived; nothing was changed", str(caught.value))
    assert numbers is not None
    expected, received = map(int, numbers.groups())
    assert expected - received == loss.lost


def test_a_query_that_yields_others_each_time_is_refused(small_sqlite: SmallCrm) -> None:
    small = small_sqlite
    for number in range(400):
        small.person(f"c{number:03}", None)
    query = "SELECT id AS entity_id FROM contact WHERE abs(random()) % 2 = 0"
    small.add(schema.marketing_list, id="half", name="Half", kind="dynamic", entity_type="contact", query=query)

    def select_often(snapshot: CrmSnapshot) -> None:
        for _ in range(20):  # two halves are of the same size now and then
            select(Pick("marketing_list", "Half"))(snapshot)

    with small.crm.snapshot() as snapshot, pytest.raises(CrmError, match="yields other rows each time it is run"):
        select_often(snapshot)


def test_other_reads_of_the_same_snapshot_go_on_after_a_refusal(crm: SmallCrm) -> None:
    with losing("ORDER BY picked.entity_id", part=2), crm.crm.snapshot() as snapshot:
        with pytest.raises(CrmError):
            select(EVERYBODY)(snapshot)
        assert suppression(snapshot) == 26
