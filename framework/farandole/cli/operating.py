"""`farandole lag`, and of `farandole agent` and `coordinator` what is not a process: list, move, reposition."""

from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli import completing
from farandole.cli.options import DryRun, Yes
from farandole.cli.target import Target, on_log

if TYPE_CHECKING:
    from farandole.client.stretches import Told

EVERY_S = 2.0
"""Between two looks of `lag --watch`: three calls to the broker each."""

READING_EVERY_S = 5.0
"""Between two lines on how far a topic is read: nobody wonders earlier."""


@on_log
def lag(
    target: Target,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="Only its inbox; may be repeated.",
            show_default=False,
            autocompletion=completing.agents,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Between two looks.")] = EVERY_S,
) -> None:
    """Show how far coordinators and agents are behind, since when, and whether anybody is there to catch up.

    BEHIND counts offsets: those of records, and of the markers of transactions between them.
    """
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.lagging import show_lags
    from farandole.cli.unserved import held_off

    settings = target.settings()
    every = every if watch else 0.0
    found = show_lags(looked_at(settings), topics_of(settings), agent or [], every=every, json=target.json)
    if not any(each.processes for each in found) and (told := held_off(settings)):
        typer.echo(told, err=True)


@on_log
def list_agents(
    target: Target,
) -> None:
    """List the agents that were applied: their unit, its processes, and what waits for them.

    WAITING counts offsets: those of records, and of the markers of transactions between them.
    """
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.lagging import print_agents
    from farandole.cli.output import print_json
    from farandole.client.serving import lags

    settings = target.settings()
    topics = topics_of(settings)
    found = [each for each in lags(looked_at(settings), topics) if each.topic.startswith(topics.inbox(""))]
    print_json(found) if target.json else print_agents(found, topics)


@on_log
def move_agent(
    target: Target,
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="Name of an applied agent.", autocompletion=completing.agents)
    ],
    to: Annotated[str, typer.Option("--to", metavar="UNIT", help="Unit that takes its inbox over.")],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Hand an agent's inbox to another unit, with its positions. No process of either unit may run."""
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.output import print_json
    from farandole.client.moving import carry_out, plan_move

    settings = target.settings()
    transport = looked_at(settings)
    move = plan_move(transport, topics_of(settings), agent, to)
    if not target.json:
        typer.echo(
            f"agent {agent}: from unit {move.source} to unit {to}, {len(move.positions)} positions; "
            f"{move.waiting:,} offsets wait in {move.topic}"
        )
    if not dry_run:
        confirmed("do this?", yes)
        carry_out(transport, move)
    if target.json:
        print_json({"agent": agent, "from": move.source, "to": to, "moved": not dry_run, "waiting": move.waiting})
    elif dry_run:
        typer.echo("--dry-run: nothing was changed")
    else:
        typer.echo(f"moved; take {agent} out of unit {move.source}, then `farandole apply` and run unit {to}")


@on_log
def reposition_agent(
    target: Target,
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="Name of an applied agent.", autocompletion=completing.agents)
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    pass_over: Annotated[
        bool, typer.Option("--pass-over", help="Pass over records without an answer, far below the last that has one.")
    ] = False,
) -> None:
    """Let an agent go on whose positions expired, went back, or lost their records. No process of its unit may run.

    Where it stood is told by `events`, which is read from its beginning: what was answered there is not read again.
    With --dry-run the unit may run.
    """
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.output import print_json
    from farandole.cli.repositioned import check_passed_over, print_reposition, reposition_rows
    from farandole.client.repositioning import carry_out, plan_reposition

    settings = target.settings()
    transport = looked_at(settings)
    told = telling_how_far(READING_EVERY_S)
    it = plan_reposition(transport, topics_of(settings), agent, told, is_rehearsal=dry_run)
    if not target.json:
        print_reposition(it)
    if it.fresh and not dry_run:
        check_passed_over(it, pass_over)
        confirmed("do this?", yes)
        carry_out(transport, it)
    if target.json:
        done, rows = bool(it.fresh) and not dry_run, reposition_rows(it)
        print_json({"agent": agent, "unit": it.unit, "positions": rows, "waiting": it.waiting, "done": done})
    elif dry_run or not it.fresh:
        nothing = "nothing to do: the log has every position, and no answer that they do not have"
        running = f"; unit {it.unit} runs: an indication only" if it.is_running else ""
        typer.echo(("--dry-run: nothing was changed" if it.fresh else nothing) + running)
    else:
        typer.echo(f"done; start unit {it.unit} again")


def telling_how_far(every: float) -> "Told":
    """Says on standard error how far a topic is read, from when that takes long."""
    since, topic_before = monotonic(), ""

    def told(topic: str, read: int, of: int) -> None:
        nonlocal since, topic_before
        if topic != topic_before:
            since, topic_before = monotonic(), topic
        elif monotonic() - since >= every:
            since = monotonic()
            typer.echo(f"still reading {topic}: {read:,} of {of:,} offsets", err=True)

    return told


@on_log
def reposition_coordinators(target: Target, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Let coordinators go on whose positions expired, where they stood. None of them may run."""
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.output import print_json
    from farandole.client.coordinating import carry_out, plan_homes

    settings = target.settings()
    transport = looked_at(settings)
    it = plan_homes(transport, topics_of(settings))
    rows = [
        {"topic": at.topic, "partition": at.partition, "from": it.stale[at], "to": position.offset}
        for at, position in it.fresh.items()
    ]
    if not target.json:
        for row in rows:
            before = "none" if row["from"] is None else f"{row['from']:,}, which the log does not have"
            typer.echo(f"{row['topic']}/{row['partition']}: {before} -> {row['to']:,}")
        typer.echo(
            f"coordinators: {len(rows)} positions; {it.waiting:,} offsets are read from there, "
            f"{it.passed:,} commands are not read again"
        )
    if rows and not dry_run:
        confirmed("do this?", yes)
        carry_out(transport, it)
    if target.json:
        done = bool(rows) and not dry_run
        print_json({"positions": rows, "waiting": it.waiting, "passed": it.passed, "done": done})
    elif dry_run or not rows:
        typer.echo("--dry-run: nothing was changed" if rows else "nothing to do: the log has every position")
    else:
        typer.echo("done; start the coordinators again")
