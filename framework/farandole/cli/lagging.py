"""`farandole lag`: how far every unit is behind, in offsets and in time, once or again and again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING, NoReturn

import typer

from farandole.cli.output import ago, print_json, print_table
from farandole.client.serving import Lag, lags, nobody_serves
from farandole.events.topics import Topics
from farandole.transport.port import Transport

if TYPE_CHECKING:
    from rich.table import Table

HEAD = ("UNIT", "TOPIC", "BEHIND", "OLDEST", "PROCESSES", "NOTE")


def show_lags(
    transport: Transport, topics: Topics, agents: Sequence[str], *, every: float, json: bool
) -> Sequence[Lag]:
    """Print the lags, and give them; with `every` above zero again after so many seconds, until Ctrl-C."""
    if every:
        _watch(transport, topics, agents, every, json)
    found = lags(transport, topics, agents)
    _print(found, json=json)
    return found


def _print(found: Sequence[Lag], *, json: bool, indent: int | None = 2) -> None:
    if json:
        return print_json(found, indent=indent)
    print_table(HEAD, rows_of(found, datetime.now(UTC)))


def rows_of(found: Sequence[Lag], now: datetime) -> list[tuple[str, ...]]:
    """The table's rows."""
    return [
        (each.unit, each.topic, f"{each.behind:,}", ago(each.oldest, now), str(each.processes), note_of(each))
        for each in found
    ]


def note_of(lag: Lag) -> str:
    """What is wrong, and what mends it."""
    starts = "farandole coordinator run" if lag.unit == "coordinator" else "farandole agent run PATH"
    if not lag.partitions:
        return "the topic is missing: farandole apply PATH"
    if lag.unknown:
        return f"{lag.unknown} partitions have no position: they stand still; farandole apply PATH"
    if lag.without:
        return f"no process serves it; unit {lag.unit} runs without it"
    if not lag.processes and lag.behind:
        return f"nobody reads it: {starts}"
    return "no process" if not lag.processes else ""


def _watch(transport: Transport, topics: Topics, agents: Sequence[str], every: float, json: bool) -> NoReturn:
    """In a terminal the table is drawn in place, with how fast each lag changes; else tables one below another."""
    from rich.console import Console

    console = Console()
    if json or not console.is_terminal or console.is_dumb_terminal:
        while True:
            _print(lags(transport, topics, agents), json=json, indent=None)
            sleep(every)
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        before: dict[str, tuple[float, int]] = {}
        while True:
            found = lags(transport, topics, agents)
            live.update(_table(found, before), refresh=True)
            before = {each.topic: (monotonic(), each.behind) for each in found}
            sleep(every)


def _table(found: Sequence[Lag], before: dict[str, tuple[float, int]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    now = datetime.now(UTC)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False, expand=True)
    for title in (*HEAD[:3], "CHANGE", *HEAD[3:]):
        table.add_column(
            title,
            no_wrap=True,
            ratio=1 if title == "NOTE" else None,
            justify="right" if title in ("BEHIND", "CHANGE", "PROCESSES") else "left",
        )
    for each, row in zip(found, rows_of(found, now), strict=True):
        style = "bold red" if row[-1] and each.behind else "yellow" if each.behind else "green"
        cells = [*row[:2], row[2], change(each, before), *row[3:]]
        table.add_row(*(Text(cell, style if n == 2 else "red" if n == 6 else "") for n, cell in enumerate(cells)))
    table.caption = f"{now:%H:%M:%S}Z, Ctrl-C ends"
    table.caption_justify = "left"
    return table


def change(lag: Lag, before: dict[str, tuple[float, int]]) -> str:
    """`-120/s`: how fast the lag shrinks or grows since the last look."""
    if lag.topic not in before:
        return ""
    at, was = before[lag.topic]
    rate = (lag.behind - was) / max(monotonic() - at, 0.001)
    return f"{rate:+.0f}/s" if abs(rate) >= 0.5 else ""


def print_agents(found: Sequence[Lag], topics: Topics) -> None:
    """One line for each agent: its unit, whether somebody serves it, what waits."""
    inbox = topics.inbox("")
    now = datetime.now(UTC)
    rows = [
        (each.topic.removeprefix(inbox), each.unit, str(each.processes), f"{each.behind:,}", ago(each.oldest, now))
        for each in found
    ]
    if not rows:
        return typer.echo("no agents yet: farandole apply PATH")
    print_table(("AGENT", "UNIT", "PROCESSES", "WAITING", "OLDEST"), rows)
    for each in found:
        if each.without:
            typer.echo(nobody_serves(each.topic.removeprefix(inbox), each.unit, each.without))
