"""Faults of single calls to a stand-in, by patches that end by themselves."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from campaign_sync_tests.crm.cut import ConnectionCutError


@dataclass(frozen=True)
class Call:
    """A call that a stand-in answers."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any


Answer = Callable[[], Any]
"""Lets the stand-in answer as it does without a fault."""

Effect = Callable[[Call, Answer], Any]

ALWAYS = 1_000_000


def any_call(_: Call) -> bool:
    """Return True."""
    return True


def calls_meet(
    stand_in: Any, effect: Effect, at: Callable[[Call], bool] = any_call, *, first: int = 1, times: int = 1
) -> AbstractContextManager[object]:
    """Let some calls meet a fault.

    Args:
        stand_in: has the method `answer`.
        effect: answers in its place.
        at: the calls that are counted.
        first: the first of them that meets the fault.
        times: how many of them do.
    """
    original, seen = stand_in.answer, 0

    def answer(method: str, path: str, query: dict[str, str], body: Any, *more: Any) -> Any:
        nonlocal seen
        call = Call(method, path, query, body)
        if at(call):
            seen += 1
            if first <= seen < first + times:
                return effect(call, lambda: original(method, path, query, body, *more))
        return original(method, path, query, body, *more)

    return patch.object(stand_in, "answer", answer)


def cut_before(_: Call, answer: Answer) -> Any:
    """Cut the connection; the server has done nothing."""
    raise ConnectionCutError


def cut_after(_: Call, answer: Answer) -> Any:
    """Let the server do its work, and cut the connection then."""
    answer()
    raise ConnectionCutError


def answering(*content: Any) -> Effect:
    """Return an effect that answers this, and does nothing."""
    return lambda _, __: content


def while_patched(target: Any, **attributes: Any) -> Effect:
    """Return an effect that answers while attributes of a target have other values."""

    def effect(_: Call, answer: Answer) -> Any:
        with patch.multiple(target, **attributes):
            return answer()

    return effect


def after(change: Callable[[], object]) -> Effect:
    """Return an effect that changes something, and answers then."""

    def effect(_: Call, answer: Answer) -> Any:
        change()
        return answer()

    return effect


def before(change: Callable[[], object]) -> Effect:
    """Return an effect that answers as before a change, and makes it."""

    def effect(_: Call, answer: Answer) -> Any:
        answered = answer()
        change()
        return answered

    return effect
