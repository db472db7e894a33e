"""The rule that this program calls no operation that makes people receive mail again, checked in its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import campaign_sync

ROOT = Path(campaign_sync.__file__).parent
FORBIDDEN = {
    name.casefold()
    for name in (
        *("remove", "removeAll", "removeByRecipientList", "removeAllByRecipientList"),
        *("deleteTrackingOptOut", "resetBounceCounter"),
    )
}
HARMLESS = {("recipient", "remove"), ("recipient", "removeall")}
"""These remove recipients from a list only. Names are compared without case, like those of operations."""


def violations(source: str) -> list[int]:
    """The lines that name a forbidden operation other than right after the service in which it does no harm."""
    tree = ast.parse(source)
    harmless = {
        id(operation)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for service, operation in zip(call.args, call.args[1:], strict=False)
        if (text_of(service), text_of(operation)) in HARMLESS
    }
    return sorted(node.lineno for node in texts(tree) if id(node) not in harmless and is_forbidden(text_of(node)))


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def text_of(node: ast.AST) -> str:
    return node.value.casefold() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_forbidden(text: str) -> bool:
    service, _, operation = text.rpartition(".")
    return operation in FORBIDDEN and (service, operation) not in HARMLESS


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "sandbox"]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_calls_an_operation_that_ends_an_opt_out(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8")) == []


def test_the_modules_with_calls_are_checked() -> None:
    names = {str(path.relative_to(ROOT)) for path in modules()}
    assert {"optimizely/opt_outs.py", "optimizely/recipients.py", "replacement/list_writer.py"} <= names
    assert any("addAll3" in path.read_text(encoding="utf-8") for path in modules())


@pytest.mark.parametrize(
    "source",
    [
        'session.call("Unsubscribe", "remove", who)',
        'session.call("Blacklist", "REMOVEALL", entries)',
        'session.call("Response", "resetBounceCounter", who)',
        'session.call("Recipient", "deleteTrackingOptOut", who)',
        'call_in_batches(session, "Unsubscribe", "removeAllByRecipientList", ids, first=[0])',
        'session.call(operation_name="removeByRecipientList", service="Unsubscribe")',
        'service, operation = "Unsubscribe", "removeAll"\nsession.call(service, operation, ids)',
        'session.call("Unsubscribe", f"remove{suffix}", ids)',
        'OPERATION = "Unsubscribe.remove"',
        'class Way(StrEnum):\n    BACK = "remove"',
        'session.call("Recipient", "removeAll", ids) or session.call(service, "removeAll", ids)',
    ],
)
def test_violations_are_found(source: str) -> None:
    assert violations(source) != []


@pytest.mark.parametrize(
    "source",
    [
        'session.call("Recipient", "removeAll", list_id, ids)',
        'call_in_batches(session, "Recipient", "removeAll", ids, first=[list_id])',
        'session.call("Recipient", "removeUnsubscribed", list_id)',
        'session.call("Unsubscribe", "addAll", 0, ids)',
        '"""Never remove anybody from the list."""',
        "people.remove(anna)",
    ],
)
def test_other_calls_are_no_violations(source: str) -> None:
    assert violations(source) == []
