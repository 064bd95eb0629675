"""The little Markdown that generated pages are made of."""

from collections.abc import Iterable, Sequence

NOTE = "<!-- Made from the code by `python docs/generate`; a test compares it. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar in a cell is escaped, line ends become spaces."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def code(text: str) -> str:
    """Inline code, or nothing for nothing."""
    return f"`{text}`" if text else ""


def sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join((docstring or "").strip().split("\n\n")[0].split())


def rest(docstring: str | None) -> str:
    """What follows the first paragraph, as paragraphs without their indentation."""
    paragraphs = (docstring or "").strip().split("\n\n")[1:]
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)
