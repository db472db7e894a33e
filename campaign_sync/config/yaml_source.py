"""A YAML text as plain values with their places, and with the values of `{env: NAME}` and `{file: PATH}`."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from campaign_sync.config.references import ExternalValue, UnavailableError, from_environment, from_file

Path = tuple[str | int, ...]
"""The keys and positions from the top of the file to a value."""


@dataclass(frozen=True)
class Place:
    """Line and column in the file, both from 1."""

    line: int = 1
    column: int = 1

    @classmethod
    def of(cls, mark: yaml.Mark) -> "Place":
        """Return the place of PyYAML's mark, which counts from 0."""
        return cls(mark.line + 1, mark.column + 1)


@dataclass(frozen=True)
class Problem:
    """A mistake in the file. The sentence never repeats a value, which may be a secret."""

    place: Place
    path: Path
    sentence: str


@dataclass
class Document:
    """The content of the file: plain values, the places of all keys and values, and the mistakes so far."""

    value: Any = field(default=None, repr=False)
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    converted: dict[Path, str] = field(default_factory=dict, repr=False)
    """The values without quotes that YAML takes for something else than text, as they are written."""
    unreadable: set[Path] = field(default_factory=set)
    """The paths of values that couldn't be read and are None; `problems` has the reasons."""

    def place_of(self, path: Path, *, of_key: bool = False) -> Place:
        """Return the place of a path; for a missing value, that of the section that lacks it."""
        if not of_key and path in self.values:
            return self.values[path]
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, Place())

    def section(self, *keys: str) -> "Document":
        """Return the section at a path as a document of its own, with its places in this file."""
        value = self.value
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        depth = len(keys)

        def inside(path: Path) -> bool:
            return path[:depth] == keys

        return Document(
            value,
            {path[depth:]: place for path, place in self.values.items() if inside(path)},
            {path[depth:]: place for path, place in self.keys.items() if inside(path)},
            [replace(problem, path=problem.path[depth:]) for problem in self.problems if inside(problem.path)],
            {path[depth:]: written for path, written in self.converted.items() if inside(path)},
            {path[depth:] for path in self.unreadable if inside(path)},
        )


def read_document(text: str, environ: Mapping[str, str]) -> Document:
    """Parse one YAML document.

    Unset variables, unreadable files, repeated keys and invalid values become `problems` of the document, with None as
    the value.

    Raises:
        yaml.YAMLError: the text isn't YAML.
    """
    loader = yaml.SafeLoader(text)
    try:
        return _DocumentReader(loader, environ).read(loader.get_single_node())
    finally:
        loader.dispose()


class _DocumentReader:
    def __init__(self, loader: yaml.SafeLoader, environ: Mapping[str, str]) -> None:
        self._loader = loader
        self._environ = environ
        self._document = Document()
        self._open: list[yaml.Node] = []
        self._checked: set[int] = set()

    def read(self, root: yaml.Node | None) -> Document:
        if root is not None:
            self._document.value = self._value(root, ())
        return self._document

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._document.values[path] = Place.of(node.start_mark)
        if node in self._open:
            return self._unreadable(node, path, "this alias contains itself")
        self._open.append(node)
        try:
            match node:
                case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                    return self._mapping(node, path)
                case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                    return [self._value(item, (*path, position)) for position, item in enumerate(node.value)]
                case yaml.ScalarNode():
                    value = self._loader.construct_object(node)
                    if node.style is None and not isinstance(value, str):
                        self._document.converted[path] = node.value
                    return value
                case _:
                    return self._unreadable(node, path, f"the tag {node.tag} isn't known here; remove it")
        except yaml.MarkedYAMLError as error:
            return self._unreadable(node, path, f"{error.problem}")
        except (ValueError, OverflowError):
            return self._unreadable(
                node, path, "YAML takes this for a number or a date that doesn't exist; put it in quotes"
            )
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Any:
        self._refuse_repeated_keys(node, path)
        self._loader.flatten_mapping(node)
        reference = _reference(node)
        if reference is not None:
            return self._external_value(*reference, node, path)
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, path, "a key must be plain text")
                continue
            # The key as written, not as YAML converts it: `No` to a truth value, `0123` to a number.
            inner = (*path, key.value)
            self._document.keys[inner] = Place.of(key.start_mark)
            mapping[key.value] = self._value(value, inner)
        return mapping

    def _refuse_repeated_keys(self, node: yaml.MappingNode, path: Path) -> None:
        if id(node) in self._checked:  # an alias that was checked before; merged keys may repeat
            return
        self._checked.add(id(node))
        seen: dict[Hashable, Place] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                first = seen[key.value]
                self._problem(key, (*path, key.value), f"the key occurs twice, first in line {first.line}")
            seen.setdefault(key.value, Place.of(key.start_mark))

    def _external_value(self, key: str, name: str, node: yaml.Node, path: Path) -> ExternalValue | None:
        try:
            return from_environment(name, self._environ) if key == "env" else from_file(name)
        except UnavailableError as error:
            self._unreadable(node, path, str(error))
            return None

    def _unreadable(self, node: yaml.Node, path: Path, sentence: str) -> None:
        self._document.unreadable.add(path)
        self._problem(node, path, sentence)

    def _problem(self, node: yaml.Node, path: Path, sentence: str) -> None:
        self._document.problems.append(Problem(Place.of(node.start_mark), path, sentence))


def _reference(node: yaml.MappingNode) -> tuple[str, str] | None:
    """Return key and NAME or PATH if the node is `{env: NAME}` or `{file: PATH}`."""
    if len(node.value) != 1:
        return None
    key, value = node.value[0]
    is_reference = key.value in ("env", "file") and isinstance(value, yaml.ScalarNode) and bool(value.value)
    return (str(key.value), str(value.value)) if is_reference else None
