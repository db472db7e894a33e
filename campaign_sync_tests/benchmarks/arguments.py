"""The command lines of the benchmarks: numbers with defaults, or sizes with names among them."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, TypeVar

Name = TypeVar("Name", bound=str)


def parse_numbers(description: str | None, **defaults: float) -> list[Any]:
    """Return the numbers of the command line in the order of these names, or their defaults."""
    parser = _parser(description)
    for name, default in defaults.items():
        parser.add_argument(name, nargs="?", type=_number, default=default, help=f"default: {default:,}")
    return list(vars(parser.parse_args()).values())


def parse_sizes(
    description: str | None, defaults: Sequence[int], names: Sequence[Name] = ()
) -> tuple[Sequence[int], Sequence[Name]]:
    """Return the sizes of the command line and the names among them, or all of them."""

    def number(text: str) -> int | str:
        return text if text in names else _number(text)

    parser = _parser(description)
    help_text = f"default: {', '.join((*names, *(f'{size:,}' for size in defaults)))}"
    metavar = "|".join((*names, "ROWS"))
    parser.add_argument("arguments", nargs="*", type=number, metavar=metavar, help=help_text)
    given = parser.parse_args().arguments
    used = [name for name in names if name in given]
    return [size for size in given if size not in names] or defaults, used or names


def _parser(description: str | None) -> ArgumentParser:
    return ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)


def _number(text: str) -> Any:
    number = float(text.replace(",", ""))
    return int(number) if number.is_integer() else number
