"""`farandole state rebuild --check`: runs folded anew from `events`, against what `runs` holds."""

from typing import Annotated

import typer

from farandole.cli.target import Target, on_log

app = typer.Typer(help="The state of runs, as their events make it.", no_args_is_help=True)


@app.callback()
def _state() -> None:
    """The state of runs, as their events make it."""


@app.command()
@on_log
def rebuild(
    target: Target,
    check: Annotated[bool, typer.Option("--check", help="Compare, and write nothing.")] = False,
) -> None:
    """Fold `events` anew and compare with `runs`. Exit code 1 if a run differs."""
    from farandole.cli.connect import looked_at, topics_of, with_client
    from farandole.cli.exit_codes import FAILED, OK
    from farandole.cli.output import print_json
    from farandole.cli.state_check import folded_positions, print_checked
    from farandole.client.rebuilding import check_state
    from farandole.errors import ConfigError

    if not check:
        raise ConfigError(
            "state rebuild: expected --check: `runs` is written by its coordinator alone, and only compared"
        )
    settings = target.settings()
    positions = folded_positions(looked_at(settings), topics_of(settings))
    found = with_client(settings, lambda client: check_state(client.session, positions))
    print_json(found) if target.json else print_checked(found)
    raise typer.Exit(FAILED if found.differences else OK)
