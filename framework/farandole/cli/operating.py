"""`farandole lag`, and of `farandole agent` what is not a process: list, move, reposition."""

from typing import Annotated

import typer

from farandole.cli.options import Bootstrap, ConfigFile, DryRun, Json, Namespace, Yes

EVERY_S = 2.0
"""Between two looks of `lag --watch`: three calls to the broker each."""


def lag(
    agent: Annotated[
        list[str] | None,
        typer.Option("--agent", metavar="NAME", help="Only its inbox; may be repeated.", show_default=False),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Between two looks.")] = EVERY_S,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show how far coordinators and agents are behind, since when, and whether anybody is there to catch up."""
    from farandole.cli.connect import settings_of, topics_of, transport_of
    from farandole.cli.lagging import show_lags

    settings = settings_of(config, bootstrap, namespace)
    show_lags(transport_of(settings), topics_of(settings), agent or [], every=every if watch else 0.0, json=json)


def list_agents(
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List the agents that were applied: their unit, its processes, and what waits for them."""
    from farandole.cli.connect import settings_of, topics_of, transport_of
    from farandole.cli.lagging import print_agents
    from farandole.cli.output import print_json
    from farandole.client.serving import lags

    settings = settings_of(config, bootstrap, namespace)
    topics = topics_of(settings)
    found = [each for each in lags(transport_of(settings), topics) if each.topic.startswith(topics.inbox(""))]
    print_json(found) if json else print_agents(found, topics)


def move_agent(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Name of an applied agent.")],
    to: Annotated[str, typer.Option("--to", metavar="UNIT", help="Unit that takes its inbox over.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Hand an agent's inbox to another unit, with its positions. No process of either unit may run."""
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import settings_of, topics_of, transport_of
    from farandole.cli.output import print_json
    from farandole.client.moving import carry_out, plan_move

    settings = settings_of(config, bootstrap, namespace)
    transport = transport_of(settings)
    move = plan_move(transport, topics_of(settings), agent, to)
    if not json:
        typer.echo(
            f"agent {agent}: from unit {move.source} to unit {to}, {len(move.positions)} positions; "
            f"{move.waiting:,} records wait in {move.topic}"
        )
    if not dry_run:
        confirmed("do this?", yes)
        carry_out(transport, move)
    if json:
        print_json({"agent": agent, "from": move.source, "to": to, "moved": not dry_run, "waiting": move.waiting})
    elif dry_run:
        typer.echo("--dry-run: nothing was changed")
    else:
        typer.echo(f"moved; take {agent} out of unit {move.source}, then `farandole apply` and run unit {to}")


def reposition_agent(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Name of an applied agent.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Let an agent go on whose positions expired or whose records were deleted. No process of its unit may run."""
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import settings_of, topics_of, transport_of
    from farandole.cli.output import print_json
    from farandole.client.repositioning import carry_out, plan_reposition

    settings = settings_of(config, bootstrap, namespace)
    transport = transport_of(settings)
    it = plan_reposition(transport, topics_of(settings), agent)
    rows = [
        {"partition": at.partition, "from": it.stale[at], "to": position.offset} for at, position in it.fresh.items()
    ]
    if not json:
        for row in rows:
            before = "none" if row["from"] is None else f"{row['from']:,}, which the log does not have"
            typer.echo(f"partition {row['partition']}: {before} -> {row['to']:,}")
        typer.echo(
            f"agent {agent} of unit {it.unit}: {len(rows)} positions; {it.waiting:,} records are read from there"
        )
    if rows and not dry_run:
        confirmed("do this?", yes)
        carry_out(transport, it)
    if json:
        print_json({"agent": agent, "unit": it.unit, "positions": rows, "done": bool(rows) and not dry_run})
    elif dry_run or not rows:
        typer.echo("--dry-run: nothing was changed" if rows else "nothing to do: the log has every position")
    else:
        typer.echo(f"done; start unit {it.unit} again")
