"""`farandole run …`: start, rerun, list, show, watch, events, result, release, cancel."""

from typing import Annotated

import typer

from farandole.cli import completing
from farandole.cli.exit_codes import OUTCOMES
from farandole.cli.options import RunIdArgument
from farandole.cli.target import Target, on_log

app = typer.Typer(help="Start runs, and see how they stand.", no_args_is_help=True)

NewId = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="Run id; the same id twice is one run.", show_default=False)
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the run ends or is held; see the exit codes.")]
Timeout = Annotated[str | None, typer.Option(help="Wait, but no longer than this (such as 30s).", show_default=False)]


@app.command()
@on_log
def start(
    target: Target,
    pipeline: Annotated[
        str,
        typer.Argument(metavar="PIPELINE", help="Name of an applied pipeline.", autocompletion=completing.pipelines),
    ],
    params: Annotated[str, typer.Option(help="Params as JSON, `@file`, or `-` for standard input.")] = "{}",
    run_id: NewId = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Start a run. With --id it waits up to 1 s for a refusal, as of an id that a run with other params has.

    Exit codes with --wait: 0 succeeded, 10 failed, 11 held, 12 partial, 13 cancelled, 14 timed out.
    """
    from farandole.cli.connect import with_client
    from farandole.cli.starting import start_run
    from farandole.cli.texts import read_text
    from farandole.cli.unserved import Patience

    settings = target.settings()
    text = read_text(params, "--params")
    patience = Patience(settings)
    code = with_client(
        settings, lambda client: start_run(client, pipeline, text, run_id, wait, timeout, target.json, patience)
    )
    raise typer.Exit(code)


@app.command()
@on_log
def rerun(
    target: Target,
    run: RunIdArgument,
    params: Annotated[
        str | None, typer.Option(help="Other params as JSON, `@file` or `-`; else those it had.", show_default=False)
    ] = None,
    run_id: NewId = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Start an ended run once more, as a new run that names the old one, under the pipeline as it is applied now."""
    from farandole.cli.connect import with_client
    from farandole.cli.starting import rerun as carry_out
    from farandole.cli.texts import read_text
    from farandole.cli.unserved import Patience

    settings = target.settings()
    text = read_text(params, "--params") if params is not None else None
    patience = Patience(settings)
    code = with_client(
        settings, lambda client: carry_out(client, run, text, run_id, wait, timeout, target.json, patience)
    )
    raise typer.Exit(code)


@app.command("list")
@on_log
def list_(
    target: Target,
    pipeline: Annotated[
        str, typer.Option(help="Only runs of this pipeline.", show_default=False, autocompletion=completing.pipelines)
    ] = "",
    status: Annotated[str, typer.Option(help="Only runs of this status (held, failed, …).", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the latest first; 0 for all.")] = 50,
) -> None:
    """List runs, the latest first."""
    from farandole.cli.connect import with_client
    from farandole.cli.output import instant, print_json, print_table, shorten
    from farandole.cli.unserved import starts_waiting
    from farandole.client.lookup import LIVE
    from farandole.client.query import list_runs
    from farandole.errors import ConfigError

    # A start that was refused left no run: `run show` and `run events` know of it, the tables do not.
    known = [*sorted(LIVE), *(name for name in OUTCOMES if name not in LIVE and name != "refused")]
    if status and status not in known:
        raise ConfigError(f"--status: expected one of {', '.join(known)}, but found {status!r}")
    settings = target.settings()
    rows = with_client(
        settings, lambda client: list_runs(client.session, pipeline=pipeline, status=status, limit=limit)
    )
    if target.json:
        return print_json(rows)
    waiting = starts_waiting(settings)
    if not rows:
        none = "no run has begun yet" if waiting else "no runs yet: farandole run start PIPELINE"
        typer.echo("no such runs" if pipeline or status else none)
    else:
        cells = [
            (r.run, r.pipeline, r.status, instant(r.started_at), instant(r.updated_at), shorten(r.waiting, 60))
            for r in rows
        ]
        print_table(("RUN", "PIPELINE", "STATUS", "STARTED", "CHANGED", "WHY"), cells)
    if waiting:
        typer.echo(waiting, err=True)


@app.command()
@on_log
def show(
    target: Target,
    run: RunIdArgument,
) -> None:
    """Show how a run stands: its steps, what it waits for and since when, and what would release it."""
    from farandole.cli.connect import topics_of, transport_of, with_client
    from farandole.cli.showing import look_around, look_at, print_shown, print_shown_json

    settings = target.settings()
    shown = with_client(settings, lambda client: look_at(client, run))
    shown = look_around(shown, transport_of(settings), topics_of(settings))
    print_shown_json(shown) if target.json else print_shown(shown)


@app.command()
@on_log
def watch(
    target: Target,
    run: RunIdArgument,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a picture, also in a terminal.")] = False,
) -> None:
    """Follow a run from its beginning to its end: drawn live in a terminal, one line for each event elsewhere."""
    from farandole.cli.connect import with_client
    from farandole.cli.unserved import Patience
    from farandole.cli.watching import watch_run

    settings = target.settings()
    patience = Patience(settings)
    with_client(settings, lambda client: watch_run(client, run, patience, as_json=target.json, plain=plain))


@app.command()
@on_log
def events(
    target: Target,
    run: RunIdArgument,
    payloads: Annotated[bool, typer.Option("--payloads", help="With params, inputs and outputs, decoded.")] = False,
) -> None:
    """Print what the log holds of a run up to now, in its order; with --json one object a line."""
    from farandole.cli.connect import with_client
    from farandole.cli.recounting import print_events

    settings = target.settings()
    with_client(settings, lambda client: print_events(client, run, payloads=payloads, as_json=target.json))


@app.command()
@on_log
def result(
    target: Target,
    run: RunIdArgument,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Print the result of a run; with --wait also of one that was asked for and has not begun.

    Exit codes: 0 succeeded, 10 failed, 11 held, 12 partial, 13 cancelled, 14 timed out.
    """
    from farandole.cli.connect import with_client
    from farandole.cli.starting import result_of_run
    from farandole.cli.unserved import Patience

    settings = target.settings()
    patience = Patience(settings)
    code = with_client(settings, lambda client: result_of_run(client, run, wait, timeout, target.json, patience))
    raise typer.Exit(code)


@app.command()
@on_log
def release(
    target: Target,
    run: RunIdArgument,
) -> None:
    """Let a run go on that is held by an error of its definition or by a trigger that seems lost."""
    from farandole.cli.asking import ask_release
    from farandole.cli.connect import with_client
    from farandole.cli.output import print_json

    settings = target.settings()
    with_client(settings, lambda client: ask_release(client, run))
    if target.json:
        print_json({"run": run, "asked": "release"})
    else:
        typer.echo(f"asked that {run} go on; `farandole run watch {run}` shows it")


@app.command()
@on_log
def cancel(
    target: Target,
    run: RunIdArgument,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the run's history.")] = "",
) -> None:
    """Ask that a run stop; steps that have begun are waited for."""
    from farandole.cli.asking import ask_cancel
    from farandole.cli.connect import with_client
    from farandole.cli.output import print_json

    settings = target.settings()
    with_client(settings, lambda client: ask_cancel(client, run, reason))
    if target.json:
        print_json({"run": run, "asked": "cancel"})
    else:
        typer.echo(f"asked {run} to stop; `farandole run watch {run}` shows it end")
