"""`farandole lineage` and `farandole verify`: what the topics say happened, and whether it can have."""

from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import Bootstrap, ConfigFile, Json, Namespace, RunIdArgument

if TYPE_CHECKING:
    from farandole.client import Client
    from farandole.lineage.tree import Tree


def lineage(
    run: RunIdArgument,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC", help="A topic of yours that agents publish to; may be repeated.", show_default=False
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show what led to what in a run, as a tree walked from the topics alone."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.output import print_json
    from farandole.lineage.render import render, to_data

    settings = settings_of(config, bootstrap, namespace)
    tree = with_client(settings, lambda client: lineage_tree(client, run, topic or []))
    if json:
        print_json(to_data(tree))
    else:
        typer.echo(render(tree))


async def lineage_tree(client: "Client", run: str, topics: list[str]) -> "Tree":
    """The tree of a run.

    Raises:
        RunNotFound: the topics hold nothing of it.
    """
    from farandole.client.trail import trail_of
    from farandole.lineage.graph import Lineage
    from farandole.lineage.tree import tree_of

    entries, definition = await trail_of(client.session, run, topics)
    return tree_of(Lineage(run, entries, definition))


def verify(
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Check that what stands on the topics can have happened: each run's events, effects and positions."""
    from farandole.cli.connect import settings_of, transport_of
    from farandole.cli.output import print_json
    from farandole.testing.history import check_history, collect

    settings = settings_of(config, bootstrap, namespace)
    history = collect(transport_of(settings), settings.namespace)
    violations = list(check_history(history))
    if json:
        print_json({"runs": len({entry.run for entry in history.events}), "violations": violations})
    else:
        for violation in violations:
            typer.echo(str(violation))
        runs = len({entry.run for entry in history.events})
        typer.echo(f"verified {runs} runs, {len(history.events)} events: {len(violations)} violations")
    raise typer.Exit(1 if violations else 0)
