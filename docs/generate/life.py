"""The picture on the page about the life of a run, as an SVG that needs no network: who says what to whom, in order."""

from collections.abc import Iterator
from html import escape

ACTORS = ("client", "Kafka", "coordinator", "agent validate", "agent ship")

SAID = (
    (0, 1, "StartRun"),
    (1, 2, "StartRun"),
    (2, 1, "RunStarted · trigger of validate · state · positions"),
    (1, 3, "trigger"),
    (3, 1, "StepSucceeded (fired: ship) · trigger of ship · position"),
    (1, 4, "trigger"),
    (4, 1, "StepSucceeded · position"),
    (1, 2, "both facts, in order"),
    (2, 1, "RunSettled · final state · tombstones · positions"),
    (1, 0, "RunSettled"),
)
"""From, to, what. What more than one thing goes to Kafka with is one transaction."""

COLUMN, ROW, TOP, MARGIN = 190, 42, 70, 90
"""Distances, in the picture's units."""


def page() -> str:
    """The picture, in colours that are readable on a light and on a dark page."""
    width, height = 2 * MARGIN + COLUMN * (len(ACTORS) - 1), TOP + ROW * (len(SAID) + 1)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-size="13" '
        'font-family="sans-serif" text-anchor="middle">'
    )
    title = "<title>From StartRun to RunSettled: each hop goes through Kafka, in one transaction.</title>"
    back = f'<rect width="{width}" height="{height}" rx="6" fill="#f6f7fb"/>'
    return "\n".join([head, title, back, *_actors(height), *_arrows(), "</svg>", ""])


def _actors(height: int) -> Iterator[str]:
    for number, name in enumerate(ACTORS):
        x = _x(number)
        yield f'<line x1="{x}" y1="46" x2="{x}" y2="{height - 16}" stroke="#9aa3b5" stroke-dasharray="4 4"/>'
        yield f'<rect x="{x - 62}" y="16" width="124" height="30" rx="5" fill="#dfe4f5" stroke="#5b6ea8"/>'
        yield f'<text x="{x}" y="36" fill="#1c2340">{escape(name)}</text>'


def _arrows() -> Iterator[str]:
    for number, (source, target, text) in enumerate(SAID):
        y, begin, end = TOP + ROW * number + 24, _x(source), _x(target)
        tip = -8 if end > begin else 8
        yield f'<line x1="{begin}" y1="{y}" x2="{end + tip}" y2="{y}" stroke="#33406e" stroke-width="1.4"/>'
        yield f'<path d="M{end} {y}l{tip} -4v8z" fill="#33406e"/>'
        at = max((begin + end) // 2, 4 * len(text))  # a long text over a short arrow begins within the picture
        yield f'<text x="{at}" y="{y - 6}" fill="#1c2340" paint-order="stroke" stroke="#f6f7fb" stroke-width="4">' + (
            f"{escape(text)}</text>"
        )


def _x(number: int) -> int:
    return MARGIN + COLUMN * number
