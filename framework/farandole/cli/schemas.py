"""`farandole schema …`: list, show, check, diff."""

from typing import Annotated

import typer

from farandole.cli.options import UnitName, UnitPath
from farandole.cli.target import Target, on_log

app = typer.Typer(help="Schemas: what is published, and whether your types fit it.", no_args_is_help=True)

Name = "A fingerprint (or its beginning), a use (orders/ship/input), a name, or a file .avsc."


@app.command("list")
@on_log
def list_(
    target: Target,
    all_: Annotated[bool, typer.Option("--all", help="Also farandole's own, and those not in use any more.")] = False,
) -> None:
    """List the schemas of applied pipelines, and what is framed with each."""
    from farandole.cli.connect import with_client
    from farandole.cli.output import print_json
    from farandole.cli.schema_texts import print_schemas
    from farandole.client.published import OURS, published

    settings = target.settings()
    rows = with_client(settings, lambda client: published(client.session))
    shown = [each for each in rows if all_ or (each.uses and OURS not in each.uses)]
    print_json(shown) if target.json else print_schemas(shown)


@app.command()
@on_log
def show(
    target: Target,
    schema: Annotated[str, typer.Argument(metavar="SCHEMA", help=Name)],
) -> None:
    """Print a schema, as Avro's JSON."""
    from farandole.cli.connect import with_client
    from farandole.cli.output import print_json
    from farandole.cli.schema_texts import as_document, named_text, pretty

    settings = target.settings()
    found = with_client(settings, lambda client: named_text(client, schema))
    print_json(as_document(found)) if target.json else typer.echo(pretty(found.text))


@app.command()
@on_log
def check(
    target: Target,
    path: UnitPath,
    unit: UnitName = None,
    mode: Annotated[
        str,
        typer.Option(help="backward: yours reads what is published; forward: the reverse; full: both."),
    ] = "full",
) -> None:
    """Check the types of a folder's pipelines against what is published. Exit code 1 if something does not fit."""
    from farandole.cli.connect import with_client
    from farandole.cli.exit_codes import FAILED, OK
    from farandole.cli.output import print_json
    from farandole.cli.schema_check import compare, mode_of, print_compared
    from farandole.cli.units import examined

    settings, how = target.settings(), mode_of(mode)
    named = examined(path, unit)
    found = with_client(settings, lambda client: compare(client, named.definitions, how))
    print_json(found) if target.json else print_compared(found, mode)
    raise typer.Exit(FAILED if any(each.problems for each in found) else OK)


@app.command()
@on_log
def diff(
    target: Target,
    old: Annotated[str, typer.Argument(metavar="OLD", help=Name)],
    new: Annotated[str, typer.Argument(metavar="NEW", help=Name)],
) -> None:
    """Show what differs between two schemas, and who could read whom."""
    from farandole.cli.connect import with_client
    from farandole.cli.schema_texts import named_text, print_diff

    settings = target.settings()
    one = with_client(settings, lambda client: named_text(client, old))
    other = with_client(settings, lambda client: named_text(client, new))
    print_diff(one, other, json=target.json)
