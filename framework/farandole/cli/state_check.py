"""What `state rebuild --check` says, and the positions that it begins with."""

import typer

from farandole.cli.output import shorten
from farandole.client.planning import COORDINATOR
from farandole.client.rebuilding import Checked
from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.transport.port import Position, TopicPartition, Transport

NAMED = 5
"""Runs of one kind that are named; the others are counted."""


def folded_positions(transport: Transport, topics: Topics) -> dict[TopicPartition, Position]:
    """How far the coordinators have folded `events`.

    Raises:
        ConfigError: the namespace was never applied.
    """
    admin = transport.admin()
    try:
        spec = admin.topics([topics.events]).get(topics.events)
        if spec is None:
            raise ConfigError(
                f"{topics.events}: expected the topic to exist, but it does not. Run `farandole apply` first."
            )
        places = [TopicPartition(topics.events, number) for number in range(spec.partitions)]
        return dict(admin.positions(topics.group(COORDINATOR), places))
    finally:
        admin.close()


def print_checked(it: Checked) -> None:
    """Differences in full, all else counted."""
    for each in it.differences:
        typer.secho(f"{each.run} (home {each.partition})", fg=typer.colors.RED, bold=True)
        typer.echo(f"  events make  {shorten(each.rebuilt, 400)}")
        typer.echo(f"  runs holds   {shorten(each.held, 400)}")
    for why, runs in (
        ("not compared, their events are not folded yet (is a coordinator running?)", it.moving),
        ("not compared, their start is no longer on the log", it.beheaded),
    ):
        if runs:
            rest = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
            typer.echo(f"{len(runs)} {why}: {', '.join(runs[:NAMED])}{rest}")
    typer.echo(f"{it.equal} runs are as their events make them, {len(it.differences)} differ")
