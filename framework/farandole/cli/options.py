"""Options that many commands share, so that one word means one thing everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from farandole.cli import completing

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        "-b",
        metavar="HOST:PORT",
        help="Kafka to talk to (else the project's own log).",
        show_default=False,
    ),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", metavar="NAME", help="Prefix of all topics.", show_default=False)
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="farandole.toml to read (else the nearest one).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
UnitPath = Annotated[Path, typer.Argument(metavar="PATH", help="Folder or file that defines agents and pipelines.")]
UnitName = Annotated[
    str | None,
    typer.Option("--unit", metavar="NAME", help="Name of the unit (else the folder's).", show_default=False),
]
Slot = Annotated[
    str | None,
    typer.Option(
        "--slot",
        metavar="NAME",
        help="What tells this process from its peers, kept over restarts for a quick take-over (else random).",
        show_default=False,
    ),
]
MetricsAt = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="HOST:PORT",
        help="Where to serve /metrics and /health (else `metrics.listen`; neither: nowhere).",
        show_default=False,
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error (else as configured: info)."),
]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", metavar="FORMAT", help="text or json (else as configured: text).")
]
RunIdArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run id.", autocompletion=completing.run_ids)]
Place = Annotated[
    str, typer.Argument(metavar="PLACE", help="Place of the dead letter (topic/partition/offset), from `dead list`.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Fusion = Annotated[
    bool | None,
    typer.Option(
        "--fusion/--no-fusion", help="Run quick successors at once (else as configured: yes).", show_default=False
    ),
]
