"""A YAML text as plain values with their places, and the references `{env: NAME}` and `{file: PATH}` in it."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from campaign_sync.config.references import ExternalSecret, Reference, UnavailableError

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
    references: dict[Path, Reference] = field(default_factory=dict)
    """The references, which are values of this class until `read_references`."""

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
            {path[depth:]: reference for path, reference in self.references.items() if inside(path)},
        )

    def unreadable_value(self, path: Path, sentence: str) -> None:
        """Record that the value at `path` can't be read, and why."""
        self.unreadable.add(path)
        self.problems.append(Problem(self.values[path], path, sentence))

    def replace_value(self, path: Path, value: Any) -> None:
        """Put another value at the place of a value."""
        if not path:
            self.value = value
            return
        section = self.value
        for step in path[:-1]:
            section = section[step]
        section[path[-1]] = value

    def read_references(
        self,
        environ: Mapping[str, str] | None,
        secret_place: Callable[[Path], str | None],
        current_environ: Mapping[str, str],
    ) -> None:
        """Replace references by their values; those of secrets by an `ExternalSecret`, which is read when it is used.

        Unset variables and unreadable files become problems, with None as the value.

        Args:
            environ: what secrets are read from; the environment of the process at that time if None.
            secret_place: returns the place of a secret, for messages; None if the value at a path is none.
            current_environ: what other values are read from.
        """
        for path, reference in self.references.items():
            place = secret_place(path)
            if place is not None:
                self.replace_value(path, ExternalSecret(reference, environ, place))
                continue
            try:
                self.replace_value(path, reference.value(current_environ))
            except UnavailableError as error:
                self.replace_value(path, None)
                self.unreadable_value(path, str(error))


def read_document(text: str) -> Document:
    """Parse one YAML document. Repeated keys and invalid values become `problems` of it, with None as the value.

    Raises:
        yaml.YAMLError: the text isn't YAML.
    """
    loader = yaml.SafeLoader(text)
    try:
        return _DocumentReader(loader).read(_composed(text))
    finally:
        loader.dispose()


def _composed(text: str) -> yaml.Node | None:
    """Return the root node. libyaml is thirty times faster; Python's parser has the better words for mistakes."""
    try:
        return yaml.compose(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, AttributeError):  # a mistake, or PyYAML without libyaml
        return yaml.compose(text, Loader=yaml.SafeLoader)


class _DocumentReader:
    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._document = Document()
        self._open: list[yaml.Node] = []
        self._repeated_keys: dict[yaml.Node, list[tuple[yaml.ScalarNode, Place]]] = {}

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
                    if not node.style and not isinstance(value, str):
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
        for key, first in self._find_repeated_keys(node):
            self._problem(key, (*path, key.value), f"the key occurs twice, first in line {first.line}")
        self._loader.flatten_mapping(node)
        reference = _reference(node)
        if reference is not None:
            self._document.references[path] = reference
            return reference
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

    def _find_repeated_keys(self, node: yaml.MappingNode) -> list[tuple[yaml.ScalarNode, Place]]:
        """Return keys that occur twice in a mapping or in what it merges, each with the place of the first.

        They are remembered, for every use of an alias: after the first one, merged keys are among the mapping's own.
        """
        if node not in self._repeated_keys:
            self._repeated_keys[node] = []  # of a mapping that merges itself
            seen: dict[Hashable, Place] = {}
            repeated = [entry for merged in _merged(node) for entry in self._find_repeated_keys(merged)]
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in seen:
                    repeated.append((key, seen[key.value]))
                seen.setdefault(key.value, Place.of(key.start_mark))
            self._repeated_keys[node] = repeated
        return self._repeated_keys[node]

    def _unreadable(self, node: yaml.Node, path: Path, sentence: str) -> None:
        self._document.unreadable.add(path)
        self._problem(node, path, sentence)

    def _problem(self, node: yaml.Node, path: Path, sentence: str) -> None:
        self._document.problems.append(Problem(Place.of(node.start_mark), path, sentence))


def _merged(node: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
    """Yield the mappings whose keys become this one's own, by the key `<<`."""
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(merged, yaml.MappingNode):
                    yield merged


def _reference(node: yaml.MappingNode) -> Reference | None:
    """Return the reference if the node is `{env: NAME}` or `{file: PATH}`."""
    if len(node.value) != 1:
        return None
    key, value = node.value[0]
    is_reference = key.value in ("env", "file") and isinstance(value, yaml.ScalarNode) and bool(value.value)
    return Reference(str(key.value), str(value.value)) if is_reference else None
