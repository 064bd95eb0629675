"""`farandole check`, `plan` and `apply`: from a folder of agents to topics and definitions."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import Json, UnitName, UnitPath, Yes
from farandole.cli.target import Target, on_log

if TYPE_CHECKING:
    from farandole.cli.settings import Settings
    from farandole.cli.units import Named
    from farandole.client.planning import Plan
    from farandole.errors import NotReady
    from farandole.transport.port import Transport

BROKERS_WAIT = timedelta(minutes=2)
"""For brokers that answer and are still finding each other: three of them on two busy cores took 38 s [measured]."""


def check(path: UnitPath, unit: UnitName = None, json: Json = False) -> None:
    """Validate the agents and pipelines of a folder, and describe them. Needs no Kafka."""
    from farandole.cli.describing import describe_unit, unit_fields
    from farandole.cli.output import print_json
    from farandole.cli.units import examined

    named = examined(path, unit)
    if json:
        print_json(unit_fields(named))
    else:
        typer.echo(describe_unit(named))


@on_log
def plan(
    target: Target,
    path: UnitPath,
    unit: UnitName = None,
) -> None:
    """Show what `apply` would do, and do nothing."""
    from farandole.cli.connect import as_if_made
    from farandole.cli.units import examined

    settings = target.settings()
    named = examined(path, unit)
    made = make(as_if_made(settings), settings, named)
    _print(made, target.json)
    made.check()


@on_log
def apply(
    target: Target,
    path: UnitPath,
    unit: UnitName = None,
    yes: Yes = False,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait",
            metavar="DURATION",
            help="Longest wait for brokers: that do not answer at all (else 0s), or cannot do it yet (else 2m).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Create topics, commit start positions, publish definitions. Doing it twice changes nothing."""
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import transport_of
    from farandole.cli.units import examined
    from farandole.client.applying import apply as carry_out
    from farandole.client.insisting import insist
    from farandole.errors import ConfigError

    settings = target.settings()
    named = examined(path, unit)
    transport = transport_of(settings)
    contact, work = _patience(wait)
    made = insist(lambda: make(transport, settings, named), contact, _waiting)
    _print(made, target.json)
    made.check()
    if made.is_empty:
        register(transport, made)
        return
    confirmed("do this?", yes)
    if not yes and make(transport, settings, named) != made:
        raise ConfigError("expected the log to be as it was when the plan was made, but it has changed. Do it again")
    register(transport, made)
    told = [made]  # a second try looks anew at what is there
    insist(lambda: carry_out(transport, told.pop() if told else make(transport, settings, named)), work, _waiting)
    if not target.json:
        typer.echo("applied")


def _patience(wait: str | None) -> tuple[timedelta, timedelta]:
    """For the first answer, which a wrong address never gives, and for the work afterwards."""
    from farandole.cli.texts import given_duration

    given = given_duration("--wait", wait)
    return (timedelta(0), BROKERS_WAIT) if given is None else (given, given)


def _waiting(refused: "NotReady", left: timedelta) -> None:
    from farandole.cli.output import shorten

    typer.echo(f"not yet: {shorten(str(refused), 180)}; trying for {left.total_seconds():.0f} s more", err=True)


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
    from farandole.cli.units import deployment_of, overrides_of
    from farandole.client.applying import plan as make_plan
    from farandole.settings.production import INSYNC_MIN, replication_of

    return make_plan(
        transport,
        topics_of(settings),
        deployment_of(named),
        partitions=settings.partitions,
        overrides=overrides_of(settings, named.publishes),
        replication=replication_of(settings),
        config={"min.insync.replicas": str(INSYNC_MIN)} if settings.is_production else None,
    )


def _print(made: "Plan", json: bool) -> None:
    from farandole.cli.output import print_json

    if json:
        print_json({"unit": made.deployment.unit, "empty": made.is_empty, "lines": list(made.lines())})
        return
    for line in made.lines():
        if not line.startswith("refused: "):  # `check` has them, with what follows
            typer.echo(line)
    if made.is_empty and not made.refusals:
        typer.echo("nothing to do" if made.notes else "nothing to do: the log is as the code says")
