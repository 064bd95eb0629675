"""`farandole lineage` and `farandole verify`: what the topics say happened, and whether it can have."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli import completing
from farandole.cli.target import Target, on_log

if TYPE_CHECKING:
    from farandole.cli.settings import Settings
    from farandole.client import Client
    from farandole.lineage.tree import Tree
    from farandole.transport.port import Transport

WithArchive = Annotated[
    bool, typer.Option("--archive", help="With what `archive run` kept and the topics no longer hold.")
]
ArchiveIn = Annotated[
    Path | None,
    typer.Option("--archive-in", metavar="FOLDER", help="The same from another folder.", show_default=False),
]


@on_log
def lineage(
    target: Target,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|RECORD",
            help="Run id, or a record's place (topic/partition/offset).",
            autocompletion=completing.run_ids,
        ),
    ],
    up: Annotated[bool, typer.Option("--up", help="Of a record: only what it follows from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Of a record: only what follows from it.")] = False,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC", help="A topic of yours that agents publish to; may be repeated.", show_default=False
        ),
    ] = None,
    archive: WithArchive = False,
    archive_in: ArchiveIn = None,
) -> None:
    """Show what led to what: a run as a tree, or of one record the way up and down. Walked from the topics alone."""
    from farandole.cli.connect import with_client
    from farandole.cli.output import print_json, visible
    from farandole.errors import ConfigError
    from farandole.lineage.render import render, to_data

    settings = target.settings()
    seen = seen_with(settings, archive, archive_in)
    if "/" in run:  # no run id has one, every place has two
        from farandole.cli.tracing import print_traced, trace, traced_fields

        found = with_client(settings, lambda client: trace(client, run, topic or []), seen)
        both = up == down
        if target.json:
            print_json(traced_fields(found, up=up or both, down=down or both))
        else:
            print_traced(found, up=up or both, down=down or both)
        return
    if up or down:
        raise ConfigError(f"--up, --down: expected the place of a record (topic/partition/offset), but found {run!r}")
    tree = with_client(settings, lambda client: lineage_tree(client, run, topic or []), seen)
    if target.json:
        print_json(to_data(tree))
    else:
        typer.echo(visible(render(tree), keep="\n"))


def seen_with(settings: "Settings", wanted: bool, folder: Path | None) -> "Callable[[Transport], Transport]":
    """How the log is seen: as it is, or together with its archive.

    Raises:
        ConfigError: the archive that was named is not there.
    """
    from farandole.artifacts.archive import Archive
    from farandole.cli.connect import as_it_is
    from farandole.client.archived import ArchivedLog
    from farandole.errors import ConfigError

    if folder is None and not wanted:
        return as_it_is
    root = folder or settings.artifacts / "archive"
    if not root.is_dir():
        raise ConfigError(f"archive {root}: expected the folder that `farandole archive run` fills, but there is none")
    return lambda transport: ArchivedLog(transport, Archive(root))


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


@on_log
def verify(
    target: Target,
    archive: WithArchive = False,
    archive_in: ArchiveIn = None,
) -> None:
    """Check that what stands on the topics can have happened: each run's events, effects and positions."""
    from farandole.cli.connect import looked_at
    from farandole.cli.output import print_json
    from farandole.testing.history import check_history, collect

    settings = target.settings()
    transport = looked_at(settings)
    _require_applied(transport, settings)
    history = collect(seen_with(settings, archive, archive_in)(transport), settings.namespace)
    violations = list(check_history(history))
    if target.json:
        print_json({"runs": len({entry.run for entry in history.events}), "violations": violations})
    else:
        for violation in violations:
            typer.echo(str(violation))
        runs = len({entry.run for entry in history.events})
        typer.echo(f"verified {runs} runs, {len(history.events)} events: {len(violations)} violations")
    raise typer.Exit(1 if violations else 0)


def _require_applied(transport: "Transport", settings: "Settings") -> None:
    from contextlib import closing

    from farandole.cli.connect import topics_of
    from farandole.errors import ConfigError

    name = topics_of(settings).definitions
    with closing(transport.admin()) as admin:
        if not admin.topics([name]):
            raise ConfigError(
                f"{name}: expected the topic to exist, but it does not. "
                "Run `farandole apply` (or `farandole dev`) first."
            )
