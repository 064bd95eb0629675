"""A picture of states and the facts that lead from one to another, as an SVG that needs no network.

Where a state stands is said by whoever draws; which arrows there are is not: they come from folding. An arrow that
nobody gave a bend goes straight.
"""

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

Edge = tuple[str, str, str]
"""From, fact, to."""

BOX_WIDTH, BOX_HEIGHT = 118, 34
"""Of a state, in the picture's units."""

LETTER = 6.3
"""Width of a letter of an arrow's text, about."""


class Place(NamedTuple):
    """Where a state stands: its middle, and its colour."""

    x: int
    y: int
    fill: str = "#dfe4f5"


class Bend(NamedTuple):
    """How far an arrow is bent, to its right hand if positive, and at what share of its length its text stands."""

    by: int = 0
    at: float = 0.5


def draw(title: str, places: Mapping[str, Place], edges: list[Edge], bends: Mapping[tuple[str, str], Bend]) -> str:
    """The picture, in colours that are readable on a light and on a dark page."""
    assert {name for before, _, after in edges for name in (before, after)} <= places.keys(), "a state has no place"
    arrows = [
        (places[before], places[after], bends.get((before, after), Bend()), ", ".join(facts))
        for (before, after), facts in _joined(edges).items()
    ]
    width = max(place.x for place in places.values()) + BOX_WIDTH
    height = (
        max(
            [place.y + BOX_HEIGHT for place in places.values()]
            + [_lowest(before, after, bend) for before, after, bend, _ in arrows]
        )
        + 20
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-size="13" '
        'font-family="sans-serif" text-anchor="middle">'
    )
    back = f'<rect width="{width}" height="{height}" rx="6" fill="#f6f7fb"/>'
    lines = [part for before, after, bend, _ in arrows for part in _arrow(before, after, bend)]
    words = [part for arrow in arrows for part in _text(*arrow)]
    boxes = [part for name, place in places.items() for part in _box(name, place)]
    return "\n".join([head, f"<title>{escape(title)}</title>", back, *lines, *boxes, *words, "</svg>", ""])


def _joined(edges: list[Edge]) -> dict[tuple[str, str], list[str]]:
    joined: dict[tuple[str, str], list[str]] = {}
    for before, fact, after in sorted(edges):
        joined.setdefault((before, after), []).append(fact)
    return joined


def _box(name: str, place: Place) -> Iterator[str]:
    x, y = place.x - BOX_WIDTH // 2, place.y - BOX_HEIGHT // 2
    yield (
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{place.fill}" stroke="#5b6ea8"/>'
    )
    yield f'<text x="{place.x}" y="{place.y + 5}" font-weight="bold" fill="#1c2340">{escape(name)}</text>'


def _arrow(before: Place, after: Place, bend: Bend) -> Iterator[str]:
    cx, cy = _control(before, after, bend)
    x1, y1 = _border(before, cx, cy)
    x2, y2 = _border(after, cx, cy)
    yield f'<path d="M{x1:.0f} {y1:.0f}Q{cx:.0f} {cy:.0f} {x2:.0f} {y2:.0f}" fill="none" stroke="#33406e"/>'
    angle = math.atan2(y2 - cy, x2 - cx)
    wings = [(x2 - 9 * math.cos(angle + turn), y2 - 9 * math.sin(angle + turn)) for turn in (-0.4, 0.4)]
    yield f'<path d="M{x2:.0f} {y2:.0f}' + "".join(f"L{x:.0f} {y:.0f}" for x, y in wings) + 'z" fill="#33406e"/>'


def _text(before: Place, after: Place, bend: Bend, text: str) -> Iterator[str]:
    x, y = _point(before, after, bend, bend.at)
    half = len(text) * LETTER / 2
    yield (
        f'<rect x="{x - half - 2:.0f}" y="{y - 8:.0f}" width="{2 * half + 4:.0f}" height="16" fill="#f6f7fb" '
        'fill-opacity="0.9"/>'
    )
    yield f'<text x="{x:.0f}" y="{y + 4:.0f}" font-size="11" fill="#1c2340">{escape(text)}</text>'


def _lowest(before: Place, after: Place, bend: Bend) -> int:
    return round(max(_point(before, after, bend, tenth / 10)[1] for tenth in range(11)))


def _point(before: Place, after: Place, bend: Bend, t: float) -> tuple[float, float]:
    """Where the curve is after a share of it."""
    cx, cy = _control(before, after, bend)
    x = (1 - t) ** 2 * before.x + 2 * t * (1 - t) * cx + t**2 * after.x
    y = (1 - t) ** 2 * before.y + 2 * t * (1 - t) * cy + t**2 * after.y
    return x, y


def _control(before: Place, after: Place, bend: Bend) -> tuple[float, float]:
    """The point that a curve is drawn towards: beside the middle between its ends."""
    dx, dy = after.x - before.x, after.y - before.y
    length = math.hypot(dx, dy)
    return (before.x + after.x) / 2 - dy / length * bend.by, (before.y + after.y) / 2 + dx / length * bend.by


def _border(place: Place, x: float, y: float) -> tuple[float, float]:
    """Where the line from a box's middle to a point leaves the box."""
    dx, dy = x - place.x, y - place.y
    share = min(
        (BOX_WIDTH / 2 + 1) / abs(dx) if dx else math.inf,
        (BOX_HEIGHT / 2 + 1) / abs(dy) if dy else math.inf,
    )
    return place.x + dx * share, place.y + dy * share
