"""A memory that is opened when it is first needed."""

from campaign_sync.crm.mirror.deferred_memory import DeferredMemory
from campaign_sync.domain.consent import ConsentKind
from campaign_sync.domain.consent_state import ConsentState
from campaign_sync_tests.crm.mirror.memories import ListMemory
from campaign_sync_tests.crm.small_crm import NOON


def test_a_memory_is_opened_once_when_it_is_needed() -> None:
    opened: list[ListMemory] = []

    def open_memory() -> ListMemory:
        opened.append(ListMemory())
        return opened[-1]

    memory = DeferredMemory(open_memory)
    assert opened == []
    (events,) = memory.events("news", [[ConsentState("contact:1", ConsentKind.GRANTED, NOON)]], NOON)
    memory.note_withdrawals([])
    memory.remember_written([], [], NOON)
    memory.mark_shown(["e1"], [])
    assert [event.occurred_at for event in events] == [NOON]
    assert (memory.shown(["e1"]), memory.unshown_withdrawals(), memory.unshown_bounces()) == ({"e1"}, [], [])
    assert memory.pseudonym("anna") == opened[0].pseudonym("anna")
    assert len(opened) == 1
