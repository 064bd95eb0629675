"""`farandole init`: its options, and nothing heavy."""

from pathlib import Path
from typing import Annotated

import typer

from farandole.cli.options import Json


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Folder to make, and the project's name.")],
    template: Annotated[
        str, typer.Option("--template", "-t", metavar="TEMPLATE", help="minimal, orders or flights-small.")
    ] = "minimal",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files.")] = False,
    json: Json = False,
) -> None:
    """Make a project: agents, a pipeline, a test, a compose file; all of it works at once."""
    from farandole.cli.init.laying import lay_out, sketch
    from farandole.cli.output import print_json

    project = sketch(Path(name), template)
    if not dry_run:
        lay_out(project)
    if json:
        print_json({"folder": project.folder, "template": template, "files": sorted(project.files), "dry_run": dry_run})
        return
    for file in sorted(project.files):
        typer.echo(f"  {project.folder / file}")
    if not dry_run:
        typer.echo(f"\n{project.advice}")
