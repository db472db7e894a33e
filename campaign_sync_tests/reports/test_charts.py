"""Charts are well-formed SVG, and their texts are escaped."""

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from campaign_sync.reports.charts import (
    Bar,
    ChartFrame,
    Column,
    Limit,
    Point,
    Tick,
    bars,
    line,
    scale,
    stacked,
    tick_values,
)

FRAME = ChartFrame("sizes", "A <title> & more", "Described “so”")
NASTY = "<script>alert('x')</script>"


@given(st.integers(0, 10**9), st.integers(0, 10**7))
def test_ticks_are_whole_numbers_around_every_value(low: int, more: int) -> None:
    values = tick_values(low, low + more)
    assert values[0] <= low
    assert values[-1] >= low + more
    assert 2 <= len(values) <= 6
    assert all(value == int(value) for value in values)


def test_every_chart_is_well_formed_labelled_and_escaped() -> None:
    charts = [
        line(
            FRAME,
            [Point(NASTY, 5), Point("b", None, interrupted=True), Point("c", 6)],
            [Tick(0, NASTY), Tick(10, "10")],
        ),
        stacked(FRAME, [Column(NASTY, [1, 2])], [Tick(0, "0"), Tick(5, "5")]),
        bars(FRAME, [Bar(NASTY, 3, NASTY), Bar("b", 0, "0")]),
        scale(FRAME, [Bar(NASTY, 99, NASTY)], [Limit(24, NASTY), Limit(36, "36")]),
    ]
    for chart in charts:
        root = etree.fromstring(chart)
        assert root.get("role") == "img"
        texts = {element.get("id"): element.text for element in root if element.get("id")}
        labels = [texts[label] for label in root.get("aria-labelledby").split()]
        assert labels == ["A <title> & more", "Described “so”"]
        assert not root.findall(".//script")


def test_labels_of_limits_do_not_overlap() -> None:
    limits = [Limit(36, "Warnung 36h"), Limit(48, "Stopp 48h"), Limit(144, "Alarm 144h")]
    root = etree.fromstring(scale(FRAME, [Bar("a", 1, "1")], limits))
    labels = [element for element in root.findall("text") if element.get("class") == "small"]
    assert [label.get("y") for label in labels] == ["11", "24", "11"]


def test_a_line_has_a_gap_at_days_without_a_value() -> None:
    points = [Point("a", 1), Point("b", 2), Point("c", None), Point("d", 3), Point("e", 4)]
    root = etree.fromstring(line(FRAME, points, [Tick(0, "0"), Tick(5, "5")]))
    assert len(root.findall("polyline")) == 2
    assert len(root.findall("circle")) == 4
