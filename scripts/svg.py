"""Plots as SVG, by hand: ratios as dots on a logarithmic axis, and lines that grow.

Text is text and colours follow the page, light or dark, so that the files can be read in a diff.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2f7ed8", "#d9534f", "#3c9d5f", "#9a5fc0", "#c98a1b", "#12939a", "#8a6d3b", "#777777")
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #24292f } .small { font-size: 10px }
.title { font-size: 14px; font-weight: 600 } .grid { stroke: #8884; stroke-width: 1 }
.one { stroke: #888; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } }
</style>"""
ROW, LEFT, WIDTH, TOP = 22, 240, 560, 64  # pixels
HIGH = 320  # pixels of a chart


@dataclass(frozen=True)
class Line:
    """A named series of points; both coordinates above 0."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Lines, and what the axes are; both are logarithmic."""

    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]


def _page(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', STYLE, *parts, "</svg>\n"]
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _dot(x: float, y: float, colour: str, about: str) -> str:
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="5"'
    return f'<circle {place} fill="{colour}"><title>{escape(about)}</title></circle>'


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten that hold all *values* between them."""
    low, high = (math.log10(choice(values)) for choice in (min, max))
    return math.floor(low), max(math.ceil(high), math.floor(low) + 1)


def _legend(names: Sequence[str], y: float) -> list[str]:
    parts, x = [], 16.0
    for number, name in enumerate(names):
        parts.append(_dot(x, y - 4, COLOURS[number % len(COLOURS)], name))
        parts.append(_text(x + 9, y, name))
        x += 30 + 7 * len(name)
    return parts


def ratios(title: str, rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Draw a row for each label, and in it a dot for each name at its ratio; the line is at 1."""
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    first, last = _decades([1.0, *(value for _, row in rows for value in row.values())])

    def at(value: float) -> float:
        return LEFT + WIDTH * (math.log10(value) - first) / (last - first)

    bottom = TOP + ROW * len(rows)
    parts = [_text(16, 24, title, kind="title"), *_legend(names, 46)]
    for power in range(first, last + 1):
        x = at(10.0**power)
        parts.append(_rule(x, TOP, x, bottom, "grid" if power else "one"))
        parts.append(_text(x, bottom + 16, f"{10.0**power:g}", anchor="middle", kind="small"))
    for number, (label, row) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        parts.append(_text(LEFT - 12, y + 4, label, anchor="end"))
        parts.append(_rule(LEFT, y, LEFT + WIDTH, y, "grid"))
        for name, value in row.items():
            colour = COLOURS[names.index(name) % len(COLOURS)]
            parts.append(_dot(at(value), y, colour, f"{label}, {name}: {value:.3g}"))
    return _page(LEFT + WIDTH + 24, bottom + 28, parts)


def growth(charts: Sequence[Chart]) -> str:
    """Draw charts below each other."""
    parts = [part for number, chart in enumerate(charts) for part in _chart(number * HIGH, chart)]
    return _page(LEFT + WIDTH, HIGH * len(charts), parts)


def _chart(top: float, chart: Chart) -> list[str]:
    left, width = 64.0, WIDTH - 100.0
    x_low, x_high = _decades([x for line in chart.lines for x, _ in line.points])
    y_low, y_high = _decades([y for line in chart.lines for _, y in line.points])
    high, low = top + 40, top + HIGH - 60

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / (x_high - x_low)
        up = (math.log10(y) - y_low) / (y_high - y_low)
        return left + width * across, low - (low - high) * up

    parts = [_text(16, top + 22, f"{chart.title}: {chart.y_name}", kind="title")]
    for power in range(x_low, x_high + 1):
        x, _ = at(10.0**power, 10.0**y_low)
        parts.append(_rule(x, high, x, low, "grid"))
        parts.append(_text(x, low + 15, f"{10**power:,}", anchor="middle", kind="small"))
    parts.append(_text(left + width / 2, low + 32, chart.x_name, anchor="middle", kind="small"))
    for power in range(y_low, y_high + 1):
        _, y = at(10.0**x_low, 10.0**power)
        parts.append(_rule(left, y, left + width, y, "grid"))
        parts.append(_text(left - 6, y + 4, f"{10.0**power:g}", anchor="end", kind="small"))
    for number, line in enumerate(chart.lines):
        colour = COLOURS[number % len(COLOURS)]
        places = [at(*point) for point in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), point in zip(places, line.points, strict=True):
            parts.append(_dot(x, y, colour, f"{line.name}: {point[1]:.3g}"))
        key = high + 14 * (number + 1)
        parts.append(_dot(left + width + 24, key - 4, colour, line.name))
        parts.append(_text(left + width + 34, key, line.name))
    return parts
