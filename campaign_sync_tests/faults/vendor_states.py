"""The state of the list, the vendor and the CRM before a replacement that is killed.

In each scenario one person has unsubscribed at the vendor only, another is on its blocklist, and a third is refused by
it, all since the snapshot was frozen; a canary address is configured; and the list isn't empty.
"""

from collections.abc import Callable
from dataclasses import dataclass

from campaign_sync.cli.run import problems
from campaign_sync.config import Strategy
from campaign_sync.crm.sql.schema import contact, marketing_list_member
from campaign_sync_tests.installation import ATTRIBUTES, NEWSLETTER, NORD, Installation

CANARY = "canary@example.org"
BEFORE = ["gone1@example.org", "gone2@example.org", "gone3@example.org", "person1@example.org", "person3@example.org"]
"""The recipients that another user had put into the list before the first replacement."""

_FEEDBACK = tuple(("nord", name) for name in ("bounces", "unsubscribes", "suppression_state"))
_PICK = tuple(("nord", f"newsletter_{asset}") for asset in ("selection", "snapshot"))
_REPLACE = ("nord", "newsletter_recipient_list")


@dataclass(frozen=True)
class Scenario:
    """An installation up to the moment before the replacement."""

    name: str
    arrange: Callable[[Installation], None]
    killed_at: str | None = None
    """The point at which an earlier replacement was killed, if there was one."""


def _first_day(strategy: Strategy) -> Callable[[Installation], None]:
    """Return a list that another user has filled, and that was never replaced."""

    def arrange(installation: Installation) -> None:
        _configure(installation, strategy)
        installation.fill_by_hand(NEWSLETTER, BEFORE)
        for number in (6, 7):
            installation.add_contact(f"c{number}", f"person{number}@example.org")
        _run(installation, *_FEEDBACK, *_PICK)
        _suppress_three_people(installation, left=2, blocked=3, refused=4)

    return arrange


def _second_day(strategy: Strategy) -> Callable[[Installation], None]:
    """Return a list that was replaced yesterday, and since then has new, changed and departed people."""

    def arrange(installation: Installation) -> None:
        _configure(installation, strategy)
        _run(installation, *_FEEDBACK, *_PICK, _REPLACE)
        with installation.crm() as crm:
            crm.execute(marketing_list_member.delete().where(marketing_list_member.c.entity_id == "c1"))
            crm.execute(contact.update().where(contact.c.id.in_(["c4", "c5"])).values(city="Łódź"))
        for number in (6, 7, 8):
            installation.add_contact(f"c{number}", f"person{number}@example.org")
        _run(installation, *_FEEDBACK, *_PICK)
        _suppress_three_people(installation, left=2, blocked=3, refused=7)

    return arrange


def _opt_in_list(installation: Installation) -> None:
    installation.vendor.add_list(NORD, NEWSLETTER, "Newsletter", ATTRIBUTES, opt_in_list=True)
    _first_day("clear_refill")(installation)


FIRST_DAY = Scenario("first day", _first_day("clear_refill"))
RESUMED = Scenario("resumed", _first_day("clear_refill"), killed_at="after Recipient.addAll3 #2")
"""The list is half full already: the canary was sent, and one batch."""
DIFFERENTIAL = Scenario("differential", _second_day("differential"))
OPT_IN_LIST = Scenario("opt-in list", _opt_in_list)
"""A list that must not be filled: the canary shows it, unless the process is killed before."""


def _configure(installation: Installation, strategy: Strategy) -> None:
    installation.settings["optimizely"] |= {"batch_size": 2, "parallel_calls": 1}
    installation.settings["mandators"]["nord"]["canary_address"] = CANARY
    installation.list_settings()["strategy"] = strategy
    installation.list_settings()["limits"] = {"max_shrink": 0.5}
    if strategy == "differential":
        installation.list_settings()["id_attribute"] = "Recipient"
    installation.vendor.unsubscribe(NORD, CANARY)


def _suppress_three_people(installation: Installation, *, left: int, blocked: int, refused: int) -> None:
    installation.vendor.unsubscribe(NORD, f"person{left}@example.org")
    installation.vendor.block(NORD, f"*son{blocked}@example.org")
    installation.vendor.refuse(NORD, f"person{refused}@example.org", 6)


def _run(installation: Installation, *assets: tuple[str, ...]) -> None:
    result = installation.run("nord", assets=assets)
    assert result.success, problems(result)
