"""`farandole check`, `plan` and `apply`: from a folder of agents to topics and definitions."""

from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import Bootstrap, ConfigFile, Json, Namespace, UnitName, UnitPath

if TYPE_CHECKING:
    from farandole.cli.settings import Settings
    from farandole.cli.units import Named
    from farandole.client.planning import Plan
    from farandole.transport.port import Transport


def check(path: UnitPath, unit: UnitName = None, json: Json = False) -> None:
    """Validate the agents and pipelines of a folder, and describe them. Needs no Kafka."""
    from farandole.cli.describing import describe_unit, unit_fields
    from farandole.cli.output import print_json
    from farandole.cli.units import load

    named = load(path, unit)
    if json:
        print_json(unit_fields(named))
    else:
        typer.echo(describe_unit(named))


def plan(
    path: UnitPath,
    unit: UnitName = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show what `apply` would do, and do nothing."""
    from farandole.cli.connect import settings_of, transport_of
    from farandole.cli.units import load

    settings = settings_of(config, bootstrap, namespace)
    named = load(path, unit)
    made = make(transport_of(settings), settings, named)
    _print(made, json)
    made.check()


def apply(
    path: UnitPath,
    unit: UnitName = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Create topics, commit start positions, publish definitions. Doing it twice changes nothing."""
    from farandole.cli.connect import settings_of, transport_of
    from farandole.cli.units import load
    from farandole.client.applying import apply as carry_out

    settings = settings_of(config, bootstrap, namespace)
    named = load(path, unit)
    transport = transport_of(settings)
    made = make(transport, settings, named)
    _print(made, json)
    made.check()
    if made.is_empty:
        register(transport, made)
        return
    if not yes and not typer.confirm("do this?", err=True):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(1)
    register(transport, made)
    carry_out(transport, made)
    if not json:
        typer.echo("applied")


def register(transport: "Transport", made: "Plan") -> None:
    """Register the deployment's schemas, where a registry is configured: it ignores what it has.

    Before anything else, so that one which the registry refuses leaves all as it was.

    Raises:
        SchemaRefused: the registry finds one incompatible with an earlier version.
    """
    from farandole.cli.connect import exchange_of
    from farandole.events.avro import Schema

    exchange = exchange_of(transport)
    if exchange is not None:
        exchange.publish(Schema.parse(text) for text in (made.deployment.schemas or {}).values())


def make(transport: "Transport", settings: "Settings", named: "Named") -> "Plan":
    """The plan for a unit under these settings."""
    from farandole.cli.connect import topics_of
    from farandole.cli.production import INSYNC_MIN, replication_of
    from farandole.cli.units import deployment_of, overrides_of
    from farandole.client.applying import plan as make_plan

    return make_plan(
        transport,
        topics_of(settings),
        deployment_of(named),
        partitions=settings.partitions,
        overrides=overrides_of(settings),
        replication=replication_of(settings),
        config={"min.insync.replicas": str(INSYNC_MIN)} if settings.is_production else None,
    )


def _print(made: "Plan", json: bool) -> None:
    from farandole.cli.output import print_json

    if json:
        print_json({"unit": made.deployment.unit, "empty": made.is_empty, "lines": list(made.lines())})
        return
    for line in made.lines():
        typer.echo(line)
    if made.is_empty:
        typer.echo("nothing to do: the log is as the code says")
