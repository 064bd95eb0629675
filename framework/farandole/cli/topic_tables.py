"""Topics for a terminal."""

from collections.abc import Sequence
from datetime import timedelta

import typer

from farandole.cli.output import print_table
from farandole.client.topic_facts import TopicFacts, TopicRow
from farandole.definition.policy import duration_text


def print_topics(rows: Sequence[TopicRow]) -> None:
    """One line for each."""
    if not rows:
        typer.echo("no topics yet: farandole apply PATH")
        return
    cells = [(r.topic, str(r.partitions), f"{r.offsets:,}", kept(r), r.holds) for r in rows]
    print_table(("TOPIC", "PARTITIONS", "OFFSETS", "KEPT", "HOLDS"), cells)


def kept(row: TopicRow) -> str:
    """How long records stay: `90d`, or `latest of a key`."""
    if "compact" in row.cleanup:
        return "latest of a key"
    if not row.retention_ms.lstrip("-").isdecimal():
        return "broker's default"
    if row.retention_ms.startswith("-"):
        return "for ever"
    return duration_text(timedelta(milliseconds=int(row.retention_ms)))


def print_topic(it: TopicFacts) -> None:
    """One topic in full."""
    typer.secho(it.row.topic, bold=True)
    typer.echo(f"holds {it.row.holds}")
    typer.echo(f"kept  {kept(it.row)}")
    typer.echo("")
    rows = [(str(p.partition), f"{p.beginning:,}", f"{p.end:,}", f"{p.end - p.beginning:,}") for p in it.partitions]
    print_table(("PARTITION", "BEGINNING", "END", "OFFSETS"), rows)
    if it.config:
        typer.echo("")
        print_table(("SETTING", "VALUE"), sorted(it.config.items()))
    for line in it.drift:
        typer.secho(f"\ndiffers: {line}", fg=typer.colors.YELLOW)
