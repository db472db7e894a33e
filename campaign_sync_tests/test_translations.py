"""Every message to people has a translation, and says the same by it."""

import ast
import copy
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest
from babel.messages import Catalog
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

import campaign_sync
from campaign_sync.config import load_configuration
from campaign_sync.domain.message import (
    LANGUAGES,
    SOURCE_LANGUAGE,
    Language,
    Message,
    and_joined,
    join_messages,
    parse_message,
    serialize,
)
from campaign_sync.localization.catalogs import translate
from campaign_sync.orchestration.code_location import build_definitions
from campaign_sync_tests.test_definitions import DEMO, ENVIRONMENT

PACKAGE = Path(campaign_sync.__file__).parent
TRANSLATED = [language for language in LANGUAGES if language != SOURCE_LANGUAGE]
ENGLISH_WORDS = re.compile(r"\b(?:the|is|are|isn't|and|of|with|it|which|says|no longer|if)\b")
QUOTED = re.compile(r"`[^`]*`|„[^“]*“|\*\*?[^*]*\*\*?")
"""Commands, and titles of English documents."""

CATALOG = "localization/locales/{language}/LC_MESSAGES/messages.po"

IN_MODULE = {"{first} and {second}", "{text:sentence}", "{year}-{month}-{day}"}
"""Templates in the module of messages itself."""


def calls_of_message() -> Iterator[tuple[str, ast.Call]]:
    """Yield every place in the sources that makes a message of a template."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path == PACKAGE / "domain" / "message.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Message":
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def template(call: ast.Call) -> str | None:
    """Return the template; None if it isn't a literal, so that no translation can be looked up."""
    first = call.args[0] if len(call.args) == 1 else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def translations(language: str) -> Catalog:
    with (PACKAGE / CATALOG.format(language=language)).open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def test_every_message_is_made_of_a_literal_and_has_the_values_that_it_names() -> None:
    places = list(calls_of_message())
    assert len(places) > 80
    assert [place for place, call in places if template(call) is None] == []
    for place, call in places:
        names = {keyword.arg for keyword in call.keywords}
        assert None in names or names == placeholders(template(call) or ""), place


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_message_is_translated_twice(language: str) -> None:
    path = PACKAGE / CATALOG.format(language=language)
    ids = re.findall(r"^msgid (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [message for message, times in Counter(ids).items() if times > 1] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_has_a_translation_and_no_translation_is_unused(language: str) -> None:
    used = {template(call) for _, call in calls_of_message()} | IN_MODULE
    assert used == {message.id for message in translations(language) if message.id}


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_names_the_same_values_and_contains_no_english(language: str) -> None:
    for message in translations(language):
        if not isinstance(message.id, str) or not message.id:
            continue
        assert placeholders(str(message.string)) == placeholders(message.id), message.id
        assert not ENGLISH_WORDS.search(QUOTED.sub("", str(message.string))), message.string


@pytest.mark.parametrize("language", TRANSLATED)
def test_everything_that_people_read_in_the_ui_is_described_in_their_language(language: Language) -> None:
    configuration = load_configuration(DEMO, ENVIRONMENT).model_copy(update={"language": language})
    configuration.model_post_init(None)
    definitions = build_definitions(configuration, datetime(2026, 3, 2, tzinfo=UTC))
    specs = definitions.resolve_all_asset_specs()
    described: list[tuple[str, str | None]] = [(spec.key.to_user_string(), spec.description) for spec in specs]
    described += [
        (key.to_user_string(), definitions.resolve_asset_graph().get_check_spec(key).description)
        for key in definitions.resolve_asset_graph().asset_check_keys
    ]
    repository = definitions.get_repository_def()
    described += [(job.name, job.description) for job in repository.get_all_jobs() if not job.name.startswith("__")]
    described += [(schedule.name, schedule.description) for schedule in repository.schedule_defs]
    described += [(sensor.name, sensor.description) for sensor in repository.sensor_defs]
    assert len(described) > 60
    assert [name for name, description in described if not description] == []
    english = {
        name: match[0] for name, text in described if (match := ENGLISH_WORDS.search(QUOTED.sub("", text or "")))
    }
    assert english == {}


def test_a_message_is_english_text_and_translated_with_the_messages_in_it() -> None:
    differences = join_messages(", ", [Message("{people:,} are missing", people=1234)])
    proven = Message("{people:,} people are in it where {proven:,} were proven", people=1, proven=41_000)
    text = and_joined([proven, differences])

    assert text == "1 people are in it where 41,000 were proven and 1,234 are missing"
    assert translate(text, "en") == text
    assert translate(text, "de") == "1 Menschen stehen darin, nachgewiesen waren 41.000 und 1.234 fehlen"
    assert translate("anything {else}", "de") == "anything {else}", "what is no message stays as it is"
    assert translate(copy.deepcopy(text), "de") == translate(text, "de")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_filled_in_is_never_a_template(language: Language) -> None:
    hostile = "{mandator} {0.__class__} {"
    sentence = Message("{asset} failed: {reason:inline}.", asset="nord/newsletter_selection", reason=hostile + ".")
    assert hostile + "." in translate(sentence, language)


@given(st.recursive(st.text() | st.integers() | st.floats(allow_nan=False), lambda inner: st.builds(
    lambda subject, mandator: Message("{subject} of {mandator}", subject=subject, mandator=mandator), inner, inner),
    max_leaves=5))  # fmt: skip
def test_a_stored_message_is_the_same_in_every_language(value: object) -> None:
    text = Message("{subject} of {mandator}", subject=value, mandator="nord")
    stored = parse_message(serialize(text))
    assert [translate(stored, language) for language in LANGUAGES] == [
        translate(text, language) for language in LANGUAGES
    ]


@pytest.mark.parametrize(
    "text", ["a plain text", "", '{"message": 3}', '{"message": "{gone}", "values": {}}', '{"message": ']
)
def test_what_was_not_stored_as_a_message_is_read_as_it_is(text: str) -> None:
    assert parse_message(text) == text
    assert json.loads(serialize(Message("Alarm"))) == {"message": "Alarm", "values": {}}
