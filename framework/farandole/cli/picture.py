"""A run drawn for a terminal: its graph with what each step does now, and below it what it waits for.

Pure: a view and an instant in, something that rich can draw out.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from rich.console import Group
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from farandole.cli.advice import Surroundings, advice
from farandole.cli.output import shorten
from farandole.cli.run_view import RunView
from farandole.cli.showing import alike, wait_line
from farandole.client.waiting import Wait
from farandole.definition.graph import Graph
from farandole.kernel.state import Run, Status, instant
from farandole.lineage.render import duration_text

LOOK: dict[Status, tuple[str, str]] = {
    Status.PENDING: ("·", "dim"),
    Status.SCHEDULED: ("▶", "cyan"),
    Status.RETRY: ("↻", "yellow"),
    Status.DEAD: ("✗", "bold red"),
    Status.SUSPECTED: ("?", "bold red"),
    Status.EXPANDED: ("▶", "cyan"),
    Status.SUCCEEDED: ("✓", "green"),
    Status.SKIPPED: ("–", "dim"),
    Status.FAILED: ("✗", "red"),
    Status.CANCELLED: ("⊘", "yellow"),
}
"""Sign and style by status; the word stands beside it, for those who see no colours."""

OUTCOME_STYLE = {"succeeded": "bold green", "running": "bold cyan", "held": "bold red", "failed": "bold red"}
BAR = 12
"""Width of an item bar."""

TITLES = ("STEP", "STATUS", "TRY", "ITEMS", "TIME", "")


def picture(view: RunView, now: datetime, spinner: Spinner | None = None, rows_max: int = 40) -> Group:
    """The whole drawing, no more than `rows_max` steps high."""
    parts: list[object] = [_head(view, now)]
    state = view.state
    if state is not None:
        parts.append(_table(view, state, now, spinner, rows_max))
        parts.extend(_waits(view, now))
    return Group(*parts)  # type: ignore[arg-type]


def _head(view: RunView, now: datetime) -> Text:
    pipeline = view.state.head.pipeline if view.state is not None else ""
    line = Text.assemble(
        (view.run_id, "bold"), "  ", pipeline, "  ", (view.status, OUTCOME_STYLE.get(view.status, "bold"))
    )
    if view.settled is not None and view.settled.reason:
        line.append(f": {shorten(view.settled.reason)}")
    if view.started is not None:
        until = view.settled.settled_at if view.settled is not None else now
        line.append(f"  {duration_text(max(until - view.started, timedelta()))}", "dim")
    return line


def _table(view: RunView, state: Run, now: datetime, spinner: Spinner | None, rows_max: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False, expand=True)
    for title in TITLES:  # the last one, which says why, takes what is left and is the only one that is cut
        table.add_column(title, no_wrap=True, overflow="ellipsis", ratio=None if title else 1)
    depth = depths(state.graph)
    names = sorted(state.graph.names, key=lambda name: state.step(name).status in _QUIET)[:rows_max]
    shown = [name for name in state.graph.names if name in set(names)]
    for name in shown:
        unit = state.step(name)
        sign, style = LOOK[unit.status]
        busy = unit.status in (Status.SCHEDULED, Status.EXPANDED) and view.settled is None
        label = Text("  " * depth[name])
        label.append(str(spinner.render(now.timestamp())) if busy and spinner is not None else sign, style)
        label.append(f" {name}")
        table.add_row(
            label,
            Text(unit.status.name.lower(), style),
            str(unit.attempt) if unit.attempt > 1 else "",
            bar(unit.done, unit.items) if unit.items else "",
            _time(view, name, unit.status, now),
            Text(_note(state, name, now), "dim"),
        )
    hidden = len(state.graph.names) - len(shown)
    if hidden:
        table.add_row(Text(f"… and {hidden} more steps", "dim"))
    return table


_QUIET = frozenset({Status.SUCCEEDED, Status.SKIPPED, Status.PENDING})
"""Left out first where a terminal is not high enough."""


def depths(graph: Graph) -> dict[str, int]:
    """How far each step is from a root, by the longest way: its indentation."""
    out: dict[str, int] = {}
    front = dict.fromkeys(graph.roots, 0)
    while front:
        out.update(front)
        below: dict[str, int] = {}
        for name, depth in front.items():
            below.update((child, depth + 1) for child in graph.children[name])
        front = below
    return out


def bar(done: int, items: int) -> str:
    """`████████░░░░ 20/30`."""
    filled = BAR * done // items if items else 0
    return f"{'█' * filled}{'░' * (BAR - filled)} {done}/{items}"


def _time(view: RunView, name: str, status: Status, now: datetime) -> str:
    begun, last = view.begun.get(name), view.last(name)
    if begun is None or last is None or status is Status.PENDING:
        return ""
    is_over = status in (Status.SUCCEEDED, Status.SKIPPED, Status.FAILED, Status.CANCELLED, Status.DEAD)
    return duration_text(max((last if is_over or view.settled is not None else now) - begun, timedelta()))


def _note(state: Run, name: str, now: datetime) -> str:
    """What a step waits for or died of; of a mapped one, of its first item that is in trouble."""
    unit = state.step(name)
    if unit.status is Status.EXPANDED:
        troubled = [
            (n, it) for n, it in state.items(name) if it.status in (Status.RETRY, Status.DEAD, Status.SUSPECTED)
        ]
        if not troubled:
            return ""
        item, unit = troubled[0]
        rest = f" (and {len(troubled) - 1} more)" if len(troubled) > 1 else ""
        why = unit.why_dead if unit.status is Status.DEAD else unit.error or unit.reason
        return f"item {item} {unit.status.name.lower()}: {shorten(why, 60)}{rest}"
    match unit.status:
        case Status.RETRY:
            wait = max(instant(unit.due) - now, timedelta())
            return f"again in {duration_text(wait)}: {shorten(unit.error, 60)}"
        case Status.DEAD:
            return shorten(unit.why_dead, 80)
        case Status.SUSPECTED:
            return "consumed without a result"
        case Status.SKIPPED:
            return unit.reason.replace("_", " ")
        case Status.PENDING:
            return ""
        case _:
            return ""


def _waits(view: RunView, now: datetime) -> Iterator[Text]:
    """Only what needs a person: the rest is in the table."""
    needed = [wait for wait in view.waits if wait.kind in ("kernel_error", "dead_letter", "suspected", "reports")]
    for found in alike(needed)[:3]:
        yield Text("")
        yield Text(f"waits for {wait_line(found, now)}", "bold")
        yield from _commands(view, found)


def _commands(view: RunView, found: list[Wait]) -> Iterator[Text]:
    given = advice(view.run_id, found, Surroundings())
    if given.text:
        yield Text(f"  {given.text}")
    for command in given.commands:
        yield Text.from_markup(f"  [cyan]$ {escape(command)}[/cyan]")
