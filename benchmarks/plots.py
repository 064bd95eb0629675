"""Small plots as SVG, written by hand: bars of ratios, curves of growth. No library is needed for that."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 720, 250, 90, 16, 6, 34
HEIGHT, BOTTOM = 320, 40
COLOURS = ("#2f6f9f", "#c8553d", "#588157", "#8d6a9f", "#b08900")
STYLE = 'font-family="sans-serif" font-size="12" fill="#333"'


def bars(path: Path, title: str, values: Mapping[str, float], unit: str) -> None:
    """One horizontal bar per name, on a logarithmic scale when they differ by more than thirty times."""
    known = {name: value for name, value in values.items() if value > 0}
    if not known:
        return
    most, least = max(known.values()), min(known.values())
    is_log = most / least > 30
    room = WIDTH - LEFT - RIGHT
    out = [_text(8, 20, title, bold=True)]
    for n, (name, value) in enumerate(known.items()):
        y = HEAD + n * (BAR + GAP)
        share = math.log(value / least * 2) / math.log(most / least * 2) if is_log else value / most
        out.append(
            f'<rect x="{LEFT}" y="{y}" width="{max(2.0, room * share):.1f}" height="{BAR}" fill="{COLOURS[0]}"/>'
        )
        out.append(_text(LEFT - 6, y + 13, name, anchor="end"))
        out.append(_text(LEFT + max(2.0, room * share) + 5, y + 13, f"{value:,.3g} {unit}"))
    height = HEAD + len(known) * (BAR + GAP) + (20 if is_log else 4)
    if is_log:
        out.append(_text(LEFT, height - 4, "logarithmic"))
    _write(path, height, out)


def curves(path: Path, title: str, unit: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Curves over a logarithmic size; the vertical axis begins at 0, so that flat looks flat."""
    known = {name: points for name, points in lines.items() if points}
    if not known:
        return
    sizes = [x for points in known.values() for x, _ in points]
    most = max(y for points in known.values() for _, y in points) * 1.1 or 1.0
    least, span = math.log10(max(1.0, min(sizes))), math.log10(max(sizes) / max(1.0, min(sizes)) or 1) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(max(1.0, x)) - least) / span
        return 70 + across * (WIDTH - 240), HEIGHT - BOTTOM - y / most * (HEIGHT - BOTTOM - HEAD)

    out = [_text(8, 20, title, bold=True)]
    for tick in (0.0, 0.5, 1.0):
        _, y = place(1, most * tick)
        out.append(f'<line x1="70" y1="{y:.1f}" x2="{WIDTH - 170}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(_text(64, y + 4, f"{most * tick:,.3g}", anchor="end"))
    for size in sorted(set(sizes)):
        out.append(_text(place(size, 0)[0], HEIGHT - BOTTOM + 18, f"{size:,.0f}", anchor="middle"))
    out.append(_text(8, HEIGHT - 6, unit))
    for n, (name, points) in enumerate(known.items()):
        colour = COLOURS[n % len(COLOURS)]
        placed = [place(x, y) for x, y in points]
        out.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" '
            f'points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}"/>'
        )
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        out.append(_text(placed[-1][0] + 8, placed[-1][1] + 4, name))
    _write(path, HEIGHT, out)


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {STYLE}{weight}>{escape(text)}</text>'


def _write(path: Path, height: float, parts: Sequence[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    drawing = "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', ground, *parts, "</svg>"])
    path.write_text(drawing + "\n")
