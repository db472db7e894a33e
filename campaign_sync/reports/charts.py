"""Charts as inline SVG: a line, stacked bars, bars, and bars on a scale with limits.

They are 360 units wide, so that labels stay readable on a phone. All texts and values are escaped.
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
"""The approximate width of a letter."""
_LINE = 13
"""The height of a line of labels."""

COLOURS: Final = ("#1f5a96", "#c27a12", "#2b8a7d", "#8a6fb0", "#8b949e")
"""They can be distinguished by people who are colour-blind, and in grey by their order."""


@dataclass(frozen=True)
class Point:
    """One day of a line: its value, and whether a replacement was interrupted. Without a value the line has a gap."""

    label: str
    value: float | None
    interrupted: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar, with its name and the text at its end."""

    label: str
    value: float
    value_text: str
    colour: int = 0


@dataclass(frozen=True)
class Column:
    """One day of stacked bars, with a value for each layer."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True)
class Limit:
    """A limit on a scale."""

    value: float
    label: str


@dataclass(frozen=True)
class Tick:
    """A line across a chart, with its label."""

    value: float
    label: str


@dataclass(frozen=True)
class ChartFrame:
    """The `svg` element of a chart, with what screen readers say."""

    name: str
    """Unique within the page."""
    title: str
    description: str

    def render(self, height: float, content: Iterable[Markup]) -> Markup:
        """Return the chart with its content."""
        return Markup(
            '<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
            '<title id="{name}-t">{title}</title><desc id="{name}-d">{description}</desc>{content}</svg>'
        ).format(
            width=WIDTH,
            height=_number(height),
            name=self.name,
            title=self.title,
            description=self.description,
            content=Markup("").join(content),
        )


def line(frame: ChartFrame, points: Sequence[Point], ticks: Sequence[Tick]) -> Markup:
    """Draw values over days. The scale reaches from the first tick to the last."""
    top, bottom = 10, 112
    low, high = ticks[0].value, ticks[-1].value
    step = _PLOT / max(len(points) - 1, 1)

    def x(position: int) -> float:
        return _LEFT + position * step

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    content = [*_grid(ticks, y), *_day_labels([point.label for point in points], x, bottom)]
    for segment in _segments(points):
        path = " ".join(f"{_number(x(position))},{_number(y(value))}" for position, value in segment)
        content.append(Markup('<polyline class="line" points="{}"/>').format(path))
    for position, point in enumerate(points):
        if point.value is not None:
            content.append(_dot(x(position), y(point.value)))
        if point.interrupted:
            content.append(_cross(x(position), bottom - 6))
    return frame.render(bottom + 22, content)


def stacked(frame: ChartFrame, columns: Sequence[Column], ticks: Sequence[Tick]) -> Markup:
    """Draw values over days, one layer on top of the other. The first tick is zero."""
    top, bottom = 10, 152
    high = ticks[-1].value
    step = _PLOT / max(len(columns), 1)

    def x(position: int) -> float:
        return _LEFT + (position + 0.5) * step

    def y(value: float) -> float:
        return bottom - value / high * (bottom - top)

    content = [*_grid(ticks, y), *_day_labels([column.label for column in columns], x, bottom)]
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
    return frame.render(bottom + 22, content)


def bars(frame: ChartFrame, entries: Sequence[Bar]) -> Markup:
    """Draw horizontal bars, each below its name."""
    row = 34
    most = max((entry.value for entry in entries), default=0) or 1
    content = []
    for position, entry in enumerate(entries):
        content.append(_bar(entry, position * row, max(entry.value / most * WIDTH, 1.5 if entry.value else 0)))
        content.append(_name(entry, position * row))
    return frame.render(len(entries) * row, content)


def scale(frame: ChartFrame, entries: Sequence[Bar], limits: Sequence[Limit]) -> Markup:
    """Draw horizontal bars against limits. A bar beyond the last limit is cut off there; its text has the value."""
    row = 34
    most = limits[-1].value * 1.12
    lines = _label_lines(limits, most)
    head = 20 + max(lines) * _LINE
    height = head + len(entries) * row
    shapes, names = [], []
    for position, entry in enumerate(entries):
        top = head + position * row
        shapes.append(_bar(entry, top, max(min(entry.value / most, 1) * WIDTH, 1.5)))
        names.append(_name(entry, top))
    for position, (limit, line) in enumerate(zip(limits, lines, strict=True)):
        _, right = _label_ends(limit, most)
        at_edge = right == WIDTH
        shapes.append(
            Markup(
                '<line class="limit l{position}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
                '<text class="small" x="{text_x}" y="{text_y}" text-anchor="{anchor}">{label}</text>'
            ).format(
                position=position,
                x=_number(limit.value / most * WIDTH),
                text_x=WIDTH if at_edge else _number(limit.value / most * WIDTH),
                text_y=11 + line * _LINE,
                anchor="end" if at_edge else "middle",
                top=15 + line * _LINE,
                bottom=height,
                label=limit.label,
            )
        )
    return frame.render(height, [*shapes, *names])


def axis(low: float, high: float, label: Callable[[float], str]) -> list[Tick]:
    """Return the ticks of an axis that holds both values, with the labels that `label` gives their values."""
    return [Tick(value, label(value)) for value in tick_values(low, high)]


def tick_values(low: float, high: float, *, most: int = 4) -> list[float]:
    """Return round, evenly spaced whole numbers around both values: at least two, at most `most` + 2."""
    span = max(high - low, 1)
    rough = span / most
    power = 10 ** math.floor(math.log10(rough)) if rough > 1 else 1
    width = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough and (step * power) % 1 == 0)
    first = math.floor(low / width) * width
    count = max(math.ceil((high - first) / width), 1)
    return [first + position * width for position in range(count + 1)]


def describe(entries: Sequence[Bar]) -> str:
    """Return the bars in words, for screen readers."""
    return "; ".join(f"{entry.label}: {entry.value_text}" for entry in entries)


def _label_ends(limit: Limit, most: float) -> tuple[float, float]:
    """Return where the label of a limit begins and ends: centred, but within the chart."""
    x, width = limit.value / most * WIDTH, len(limit.label) * _LETTER
    return (x - width / 2, x + width / 2) if x + width / 2 <= WIDTH else (WIDTH - width, WIDTH)


def _label_lines(limits: Sequence[Limit], most: float) -> list[int]:
    """Return for each limit the first line on which its label doesn't overlap those before it."""
    ends: list[float] = []
    lines = []
    for limit in limits:
        left, right = _label_ends(limit, most)
        line = next((line for line, end in enumerate(ends) if end < left), len(ends))
        ends[line : line + 1] = [right]
        lines.append(line)
    return lines


def _bar(entry: Bar, top: float, length: float) -> Markup:
    return Markup(
        '<rect class="rail" x="0" y="{y}" width="{right}" height="9" rx="2"/>'
        '<rect x="0" y="{y}" width="{length}" height="9" rx="2" fill="{colour}"/>'
    ).format(y=top + 19, right=WIDTH, length=_number(length), colour=COLOURS[entry.colour])


def _name(entry: Bar, top: float) -> Markup:
    return Markup(
        '<text class="over" x="0" y="{y}">{label}</text>'
        '<text class="value over" x="{right}" y="{y}" text-anchor="end">{value}</text>'
    ).format(y=top + 13, right=WIDTH, label=entry.label, value=entry.value_text)


def _grid(ticks: Sequence[Tick], y: Callable[[float], float]) -> list[Markup]:
    return [
        Markup(
            '<line class="across" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
            '<text class="small" x="{text}" y="{below}" text-anchor="end">{label}</text>'
        ).format(
            left=_LEFT,
            right=WIDTH - _RIGHT,
            y=_number(y(tick.value)),
            text=_LEFT - 6,
            below=_number(y(tick.value) + 3.5),
            label=tick.label,
        )
        for tick in ticks
    ]


def _day_labels(labels: Sequence[str], x: Callable[[int], float], bottom: float) -> list[Markup]:
    """Return up to five labels below the plot; the last day always has one."""
    last = len(labels) - 1
    shown = sorted({last - round(position * last / 4) for position in range(5)}) if last > 0 else [0]
    return [
        Markup('<text class="small" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            _number(x(position)), bottom + 16, "end" if position == last else "middle", labels[position]
        )
        for position in shown
    ]


def _segments(points: Sequence[Point]) -> list[list[tuple[int, float]]]:
    """Return the connected parts of a line: consecutive days with a value."""
    segments: list[list[tuple[int, float]]] = [[]]
    for position, point in enumerate(points):
        if point.value is None:
            segments.append([])
        else:
            segments[-1].append((position, point.value))
    return [segment for segment in segments if len(segment) > 1]


def _dot(x: float, y: float) -> Markup:
    return Markup('<circle class="dot" cx="{}" cy="{}" r="2.2"/>').format(_number(x), _number(y))


def _cross(x: float, y: float) -> Markup:
    return Markup('<path class="cross" d="M{} {}l7 7m0 -7l-7 7"/>').format(_number(x - 3.5), _number(y - 3.5))


def _number(value: float) -> str:
    """Return a coordinate with at most one decimal: short, and the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")
