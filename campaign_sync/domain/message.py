"""Messages to people: English texts that keep their template and values, so that they can be translated where shown."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import reduce
from string import Formatter
from typing import Any, Literal, Self, get_args

Language = Literal["de", "en"]
"""The languages that people can read."""

SOURCE_LANGUAGE: Language = "en"
"""The language of templates."""

LANGUAGES: tuple[Language, ...] = get_args(Language)

Translator = Callable[[str], str]
"""Returns the translation of a template, or the template itself."""

_SWAPPED = str.maketrans(",.", ".,")


class Message(str):
    """A text in English, with the template and the values that it was made of.

    It is a text like any other where it isn't translated: in logs, errors and commands. Only what is written as a
    literal is translated: a value that is a message itself is translated as well, every other value stays as it is.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, /, **values: object) -> Self:
        """Return the message of a template, with the values in place of `{…}`.

        Numbers with a format are written by the conventions of the language. Texts may have one, too: `{reason:inline}`
        leaves out the full stop at the end, `{reason:sentence}` begins with a capital letter and ends with one.
        """
        message = super().__new__(cls, _Formatter(SOURCE_LANGUAGE, str).vformat(template, (), values))
        message.template, message.values = template, values
        return message

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        """Return what a copy is made of."""
        return (self.template,), dict(self.values)

    def translated(self, language: Language, translator: Translator) -> str:
        """Return the text in a language."""
        return _Formatter(language, translator).vformat(translator(self.template), (), self.values)


def join_messages(separator: str, parts: Iterable[str]) -> Message:
    """Return the parts as one message; `separator` isn't translated."""
    values = {f"part_{number}": part for number, part in enumerate(parts)}
    return Message(separator.replace("{", "{{").replace("}", "}}").join(f"{{{name}}}" for name in values), **values)


def and_joined(parts: Iterable[str]) -> str:
    """Return `A and B`, and for more parts `A and B and C`."""
    return reduce(lambda first, second: Message("{first} and {second}", first=first, second=second), parts)


def day_text(day: date) -> Message:
    """Return a day as text."""
    return Message("{year}-{month}-{day}", year=f"{day:%Y}", month=f"{day:%m}", day=f"{day:%d}")


def as_sentence(text: str) -> Message:
    """Return the text of an error or a check as a sentence."""
    return Message("{text:sentence}", text=text)


def serialize(text: str) -> str:
    """Return the form in which a text is stored: JSON of a message, any other text as it is."""
    return json.dumps(_to_json(text), ensure_ascii=False) if isinstance(text, Message) else text


def parse_message(stored: str) -> str:
    """Return the text that `serialize` was called with."""
    if not stored.startswith(_BEGINNING):
        return stored
    try:
        return _from_json(json.loads(stored))
    except (ValueError, TypeError, AttributeError, LookupError):
        return stored


_BEGINNING = '{"message": '


def _to_json(value: object) -> object:
    if not isinstance(value, Message):
        return value if isinstance(value, int | float | str) else str(value)
    return {"message": value.template, "values": {name: _to_json(entry) for name, entry in value.values.items()}}


def _from_json(value: Mapping[str, Any]) -> Message:
    values = {
        name: _from_json(entry) if isinstance(entry, Mapping) else entry for name, entry in value["values"].items()
    }
    return Message(value["message"], **values)


class _Formatter(Formatter):
    """Fills a template in a language."""

    def __init__(self, language: Language, translator: Translator) -> None:
        self._language, self._translator = language, translator

    def format_field(self, value: Any, format_spec: str) -> str:
        """Return a value as it is shown."""
        if isinstance(value, Message):
            value = value.translated(self._language, self._translator)
        if isinstance(value, str):
            return _formatted_text(value, format_spec)
        shown = format(value, format_spec)
        if not format_spec or self._language == SOURCE_LANGUAGE:
            return shown
        return shown.translate(_SWAPPED).replace("%", "\u00a0%")


def _formatted_text(text: str, format_spec: str) -> str:
    if format_spec == "inline":
        return text.rstrip(".")
    if format_spec == "sentence":
        return f"{text[:1].upper()}{text[1:].rstrip('.')}."
    return format(text, format_spec)
