"""The installations that are killed: what the list, the vendor and the CRM look like before the replace begins.

In each of them somebody has unsubscribed at the vendor only, somebody is on its blocklist, and somebody is refused by
it, all since the snapshot was frozen; a canary watches over the list; and the list isn't empty.
"""

from collections.abc import Callable
from dataclasses import dataclass

from campaign_sync.cli.run import problems
from campaign_sync.config import Strategy
from campaign_sync.crm.sql.schema import contact, marketing_list_member
from campaign_sync_tests.installation import ATTRIBUTES, NEWSLETTER, NORD, Installation

CANARY = "canary@example.org"
BEFORE = ["gone1@example.org", "gone2@example.org", "gone3@example.org", "person1@example.org", "person3@example.org"]
"""Whom somebody else had put into the list before we came."""

_FEEDBACK = tuple(("nord", name) for name in ("bounces", "unsubscribes", "suppression_state"))
_PICK = tuple(("nord", f"newsletter_{asset}") for asset in ("selection", "snapshot"))
_REPLACE = ("nord", "newsletter_recipient_list")


@dataclass(frozen=True)
class Scenario:
    """An installation up to the moment before the replace."""

    name: str
    arrange: Callable[[Installation], None]
    broken_at: str | None = None
    """The point at which a replace was killed before the one that is looked at."""


def _first_day(strategy: Strategy) -> Callable[[Installation], None]:
    """Somebody else has filled the list, and we have never replaced it."""

    def arrange(installation: Installation) -> None:
        _configure(installation, strategy)
        installation.fill_by_hand(NEWSLETTER, BEFORE)
        for number in (6, 7):
            installation.add_contact(f"c{number}", f"person{number}@example.org")
        _run(installation, *_FEEDBACK, *_PICK)
        _let_three_drop_out(installation, left=2, blocked=3, refused=4)

    return arrange


def _second_day(strategy: Strategy) -> Callable[[Installation], None]:
    """The list holds what we put into it yesterday. Since then people have joined, moved, and left it."""

    def arrange(installation: Installation) -> None:
        _configure(installation, strategy)
        _run(installation, *_FEEDBACK, *_PICK, _REPLACE)
        with installation.crm() as crm:
            crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id == "c1"))
            crm.execute(contact.update().where(contact.c.id.in_(["c4", "c5"])).values(city="Łódź"))
        for number in (6, 7, 8):
            installation.add_contact(f"c{number}", f"person{number}@example.org")
        _run(installation, *_FEEDBACK, *_PICK)
        _let_three_drop_out(installation, left=2, blocked=3, refused=7)

    return arrange


def _opt_in_list(installation: Installation) -> None:
    installation.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=True)
    _first_day("clear_refill")(installation)


FIRST_DAY = Scenario("first day", _first_day("clear_refill"))
RESUMED = Scenario("resumed", _first_day("clear_refill"), broken_at="after Recipient.addAll3 #2")
"""The list is half full already: the canary was sent, and one batch."""
DIFFERENTIAL = Scenario("differential", _second_day("differential"))
OPT_IN_LIST = Scenario("opt-in list", _opt_in_list)
"""What nobody may fill: the canary shows it, if nobody is killed on the way."""


def _configure(installation: Installation, strategy: Strategy) -> None:
    installation.settings["optimizely"] |= {"batch_size": 2, "parallel_calls": 1}
    installation.settings["mandators"]["nord"]["canary_address"] = CANARY
    installation.list_settings()["strategy"] = strategy
    installation.list_settings()["limits"] = {"max_shrink": 0.5}
    if strategy == "differential":
        installation.list_settings()["id_attribute"] = "Recipient"
    installation.vendor.unsubscribe(NORD, CANARY)


def _let_three_drop_out(installation: Installation, *, left: int, blocked: int, refused: int) -> None:
    installation.vendor.unsubscribe(NORD, f"person{left}@example.org")
    installation.vendor.block(NORD, f"*son{blocked}@example.org")
    installation.vendor.refuse(NORD, f"person{refused}@example.org", 6)


def _run(installation: Installation, *assets: tuple[str, ...]) -> None:
    result = installation.run("nord", assets=assets)
    assert result.success, problems(result)
