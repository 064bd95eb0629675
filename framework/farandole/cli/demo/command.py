"""`farandole demo`: its options, and nothing heavy."""

from pathlib import Path
from typing import Annotated

import typer

from farandole.cli.options import Json


def demo(
    bootstrap: Annotated[
        str | None,
        typer.Option(
            "--bootstrap",
            "-b",
            metavar="HOST:PORT",
            help="Use this Kafka (else a log of the demo's own, in a file).",
            show_default=False,
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="The folder agents/flights (else looked for here and above).", show_default=False
        ),
    ] = None,
    month: Annotated[int, typer.Option(min=1, max=12, help="Month of 2013.")] = 1,
    day: Annotated[int, typer.Option(min=1, max=28, help="Day whose input is truncated.")] = 17,
    home: Annotated[Path, typer.Option(metavar="PATH", help="Where the working copy, the report and logs go.")] = Path(
        ".farandole/demo"
    ),
    namespace: Annotated[str, typer.Option(metavar="NAME", help="Prefix of the demo's topics.")] = "farandole-demo",
    json: Json = False,
) -> None:
    """A month of real flights through a pipeline: one day fails, is repaired and replayed."""
    from farandole.cli.demo.play import Play, play

    code = play(Play(bootstrap, path, month, day, home, namespace, json))
    raise typer.Exit(code)
