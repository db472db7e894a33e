"""The colours of a report keep the contrasts of WCAG AA: 4.5 for texts, 3 for what charts draw."""

import re
from pathlib import Path

from campaign_sync import reports
from campaign_sync.reports.charts import COLOURS
from campaign_sync.reports.mail import HEADLINE_COLOURS

STYLE = (Path(reports.__file__).parent / "page.html.j2").read_text(encoding="utf-8").partition("</style>")[0]
VARIABLES = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", STYLE))
NOT_FOR_TEXT = {"rule"}


def luminance(colour: str) -> float:
    channels = (int(colour[position : position + 2], 16) / 255 for position in (1, 3, 5))
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str = "#ffffff") -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_of_text_can_be_read_on_white() -> None:
    assert {name for name, colour in VARIABLES.items() if contrast(colour) < 4.5} == NOT_FOR_TEXT


def test_every_text_can_be_read_on_its_background() -> None:
    resolved = re.sub(r"var\(--(\w+)\)", lambda match: VARIABLES[match[1]], STYLE)
    pairs = [
        (colour[1], background[1])
        for rule in re.findall(r"\{([^{}]*)\}", resolved)
        if (colour := re.search(r"(?<![-\w])color: (#[0-9a-f]{6})", rule))
        and (background := re.search(r"background: (#[0-9a-f]{6})", rule))
    ]
    pairs += [(ink, background) for background, _, ink in HEADLINE_COLOURS.values()]
    assert len(pairs) >= 9
    assert [pair for pair in pairs if contrast(*pair) < 4.5] == []


def test_what_charts_draw_is_seen_on_white() -> None:
    assert [colour for colour in COLOURS if contrast(colour) < 3] == []
