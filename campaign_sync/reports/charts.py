"""Pictures as inline SVG: lines, stacked bars, bars, and a scale with limits.

Drawn 360 units wide, so that letters stay readable on a phone. All that is put in is escaped.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

WIDTH: Final = 360
_LEFT, _RIGHT = 46, 8
_PLOT = WIDTH - _LEFT - _RIGHT
_LETTER = 6.2
"""About how wide a letter is."""

COLOURS: Final = ("#1f5a96", "#d98a1c", "#2b8a7d", "#8a6fb0", "#8b949e")
"""Told apart also by people who see few colours, and in grey by their order."""


@dataclass(frozen=True)
class Point:
    """One day of a line: its value, and whether something broke off then. Without a value the line has a gap."""

    label: str
    value: float | None
    broken: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar, with its name and what is written at its end."""

    label: str
    value: float
    told: str
    colour: int = 0


@dataclass(frozen=True)
class Column:
    """One day of stacked bars, a value for each layer."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True)
class Mark:
    """A limit on a scale."""

    value: float
    label: str


@dataclass(frozen=True)
class Picture:
    """What every picture needs: an id of its own within the page, and what it shows in words."""

    name: str
    title: str
    described: str

    def __call__(self, height: float, content: Iterable[Markup]) -> Markup:
        """The picture around its content."""
        return Markup(
            '<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
            '<title id="{name}-t">{title}</title><desc id="{name}-d">{described}</desc>{content}</svg>'
        ).format(
            width=WIDTH,
            height=_number(height),
            name=self.name,
            title=self.title,
            described=self.described,
            content=Markup("").join(content),
        )


def line(picture: Picture, points: Sequence[Point], labels: Sequence[tuple[float, str]]) -> Markup:
    """Values over days. `labels` are the lines across, with what is written beside them; they span the scale."""
    top, bottom = 10, 112
    low, high = labels[0][0], labels[-1][0]
    step = _PLOT / max(len(points) - 1, 1)

    def x(position: int) -> float:
        return _LEFT + position * step

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    content = [*_grid(labels, y), *_days([point.label for point in points], x, bottom)]
    for run in _runs(points):
        path = " ".join(f"{_number(x(position))},{_number(y(value))}" for position, value in run)
        content.append(Markup('<polyline class="line" points="{}"/>').format(path))
    for position, point in enumerate(points):
        if point.value is not None:
            content.append(_dot(x(position), y(point.value)))
        if point.broken:
            content.append(_cross(x(position), bottom - 6))
    return picture(bottom + 22, content)


def stacked(picture: Picture, columns: Sequence[Column], labels: Sequence[tuple[float, str]]) -> Markup:
    """Values over days, one layer on the other. `labels` as for `line`, from zero."""
    top, bottom = 10, 152
    high = labels[-1][0]
    step = _PLOT / max(len(columns), 1)

    def x(position: int) -> float:
        return _LEFT + (position + 0.5) * step

    def y(value: float) -> float:
        return bottom - value / high * (bottom - top)

    content = [*_grid(labels, y), *_days([column.label for column in columns], x, bottom)]
    for position, column in enumerate(columns):
        below = 0.0
        for layer, value in enumerate(column.values):
            if value:
                content.append(
                    Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>').format(
                        _number(x(position) - step * 0.36),
                        _number(y(below + value)),
                        _number(step * 0.72),
                        _number(y(below) - y(below + value)),
                        COLOURS[layer],
                    )
                )
            below += value
    return picture(bottom + 22, content)


def bars(picture: Picture, entries: Sequence[Bar]) -> Markup:
    """Bars that lie one below the other, each under its name."""
    row = 34
    most = max((entry.value for entry in entries), default=0) or 1
    content = []
    for position, entry in enumerate(entries):
        content.append(_bar(entry, position * row, max(entry.value / most * WIDTH, 1.5 if entry.value else 0)))
        content.append(_name(entry, position * row))
    return picture(len(entries) * row, content)


def scale(picture: Picture, entries: Sequence[Bar], marks: Sequence[Mark]) -> Markup:
    """Bars against limits. A bar beyond the last limit shown is cut off there: its number says how long it is."""
    row, head = 34, 20
    most = marks[-1].value * 1.12
    height = head + len(entries) * row
    drawn, written = [], []
    for position, entry in enumerate(entries):
        top = head + position * row
        drawn.append(_bar(entry, top, max(min(entry.value / most, 1) * WIDTH, 1.5)))
        written.append(_name(entry, top))
    for position, mark in enumerate(marks):
        x = mark.value / most * WIDTH
        at_the_edge = x + len(mark.label) * _LETTER / 2 > WIDTH
        drawn.append(
            Markup(
                '<line class="limit l{position}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
                '<text class="small" x="{at}" y="11" text-anchor="{anchor}">{label}</text>'
            ).format(
                position=position,
                x=_number(x),
                at=WIDTH if at_the_edge else _number(x),
                anchor="end" if at_the_edge else "middle",
                top=head - 5,
                bottom=height,
                label=mark.label,
            )
        )
    return picture(height, [*drawn, *written])


def steps(low: float, high: float, *, most: int = 4) -> list[float]:
    """Round numbers around these two, evenly apart: at least two, no more than `most` and one. Whole numbers only."""
    span = max(high - low, 1)
    rough = span / most
    power = 10 ** math.floor(math.log10(rough)) if rough > 1 else 1
    width = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough and (step * power) % 1 == 0)
    first = math.floor(low / width) * width
    count = max(math.ceil((high - first) / width), 1)
    return [first + position * width for position in range(count + 1)]


def _bar(entry: Bar, top: float, length: float) -> Markup:
    return Markup(
        '<rect class="rail" x="0" y="{y}" width="{right}" height="9" rx="2"/>'
        '<rect x="0" y="{y}" width="{length}" height="9" rx="2" fill="{colour}"/>'
    ).format(y=top + 19, right=WIDTH, length=_number(length), colour=COLOURS[entry.colour])


def _name(entry: Bar, top: float) -> Markup:
    return Markup(
        '<text class="over" x="0" y="{y}">{label}</text>'
        '<text class="value over" x="{right}" y="{y}" text-anchor="end">{told}</text>'
    ).format(y=top + 13, right=WIDTH, label=entry.label, told=entry.told)


def _grid(labels: Sequence[tuple[float, str]], y: Callable[[float], float]) -> list[Markup]:
    return [
        Markup(
            '<line class="across" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
            '<text class="small" x="{text}" y="{below}" text-anchor="end">{label}</text>'
        ).format(
            left=_LEFT,
            right=WIDTH - _RIGHT,
            y=_number(y(value)),
            text=_LEFT - 6,
            below=_number(y(value) + 3.5),
            label=label,
        )
        for value, label in labels
    ]


def _days(labels: Sequence[str], x: Callable[[int], float], bottom: float) -> list[Markup]:
    """Names of some days below the plot: the first, the last, and as many between as there is room for."""
    last = len(labels) - 1
    shown = sorted({last - round(position * last / 4) for position in range(5)}) if last > 0 else [0]
    return [
        Markup('<text class="small" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            _number(x(position)), bottom + 16, "end" if position == last else "middle", labels[position]
        )
        for position in shown
    ]


def _runs(points: Sequence[Point]) -> list[list[tuple[int, float]]]:
    """Days with a value that follow each other."""
    runs: list[list[tuple[int, float]]] = [[]]
    for position, point in enumerate(points):
        if point.value is None:
            runs.append([])
        else:
            runs[-1].append((position, point.value))
    return [run for run in runs if len(run) > 1]


def _dot(x: float, y: float) -> Markup:
    return Markup('<circle class="dot" cx="{}" cy="{}" r="2.2"/>').format(_number(x), _number(y))


def _cross(x: float, y: float) -> Markup:
    return Markup('<path class="cross" d="M{} {}l7 7m0 -7l-7 7"/>').format(_number(x - 3.5), _number(y - 3.5))


def _number(value: float) -> str:
    """A coordinate with at most one digit after the point: the same on every machine, and short."""
    return f"{value:.1f}".removesuffix(".0")
