"""The law that this program asks the vendor for nothing that makes people receive mail again, read from its source."""

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
"""Out of a list, and no more than that. The vendor's names are found in any case, so ours are compared in none."""


def violations(source: str) -> list[int]:
    """The lines that name a forbidden operation other than right after the service in which it does no harm."""
    tree = ast.parse(source)
    harmless = {
        id(operation)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for service, operation in zip(call.args, call.args[1:], strict=False)
        if (said_by(service), said_by(operation)) in HARMLESS
    }
    return sorted(node.lineno for node in texts(tree) if id(node) not in harmless and is_forbidden(said_by(node)))


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def said_by(node: ast.AST) -> str:
    return node.value.casefold() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_forbidden(text: str) -> bool:
    service, _, operation = text.rpartition(".")
    return operation in FORBIDDEN and (service, operation) not in HARMLESS


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "sandbox"]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_makes_anybody_receive_mail_again(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8")) == []


def test_the_law_is_read_where_the_calls_are_made() -> None:
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
        'asked_in_chunks(session, "Unsubscribe", "removeAllByRecipientList", ids, first=[0])',
        'session.call(operation_name="removeByRecipientList", service="Unsubscribe")',
        'service, operation = "Unsubscribe", "removeAll"\nsession.call(service, operation, ids)',
        'session.call("Unsubscribe", f"remove{suffix}", ids)',
        'OPERATION = "Unsubscribe.remove"',
        'class Way(StrEnum):\n    BACK = "remove"',
        'session.call("Recipient", "removeAll", ids) or session.call(service, "removeAll", ids)',
    ],
)
def test_the_law_finds_what_breaks_it(source: str) -> None:
    assert violations(source) != []


@pytest.mark.parametrize(
    "source",
    [
        'session.call("Recipient", "removeAll", list_id, ids)',
        'asked_in_chunks(session, "Recipient", "removeAll", ids, first=[list_id])',
        'session.call("Recipient", "removeUnsubscribed", list_id)',
        'session.call("Unsubscribe", "addAll", 0, ids)',
        '"""Never remove anybody from the list."""',
        "people.remove(anna)",
    ],
)
def test_the_law_lets_everything_else_be(source: str) -> None:
    assert violations(source) == []
