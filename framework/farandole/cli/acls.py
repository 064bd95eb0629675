"""`farandole acls`: the rights that a kind of process needs, as commands of Kafka's own tool, or granted at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import UnitName
from farandole.cli.target import Target, on_log

if TYPE_CHECKING:
    from farandole.client.access import Right
    from farandole.events.topics import Topics

Role = Annotated[
    str,
    typer.Argument(
        metavar="ROLE",
        help="Folder of a unit of agents; or coordinator, client, apply, doctor, transactions.",
        show_default=False,
    ),
]


@on_log
def acls(
    target: Target,
    role: Role,
    principal: Annotated[
        str, typer.Option("--principal", metavar="User:NAME", help="Who gets the rights.", show_default=False)
    ],
    unit: UnitName = None,
    own: Annotated[
        Path | None,
        typer.Option("--for", metavar="PATH", help="With `apply`: the unit that it applies.", show_default=False),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Grant them, instead of printing commands.")] = False,
) -> None:
    """Print what a kind of process must be allowed on a cluster with ACLs, or allow it (`--apply`)."""
    from farandole.cli.connect import address_of, kafka_of, topics_of
    from farandole.cli.output import print_json
    from farandole.errors import ConfigError

    if not principal.startswith("User:") or principal == "User:":
        raise ConfigError(f"--principal: expected User:NAME, but found {principal!r}")
    settings = target.settings()
    wanted = rights_of(role, unit, own, topics_of(settings))
    if apply:
        from farandole.transport.kafka.acls import Grant, grant

        grants = [
            Grant(each.resource.value, each.name, each.is_prefix, operation)
            for each in wanted
            for operation in each.operations
        ]
        grant(kafka_of(settings), principal, grants)
    if target.json:
        print_json({"principal": principal, "applied": apply, "rights": wanted})
    elif apply:
        typer.echo(f"{principal}: {len(wanted)} rights granted for {role}")
    else:
        for each in wanted:
            typer.echo(each.command(principal, address_of(settings)))


def rights_of(role: str, unit: str | None, own: Path | None, topics: "Topics") -> tuple["Right", ...]:
    """What a role needs; a unit is loaded from its folder, and so is the one whose own topics `apply` creates.

    Raises:
        ConfigError: there is no such role and no such folder.
    """
    from farandole.cli.units import examined
    from farandole.client.access import ROLES, rights
    from farandole.errors import ConfigError

    if role in ROLES:
        return rights(role, topics, publishes=examined(own, unit).publishes if own is not None else ())
    if not Path(role).exists():
        raise ConfigError(f"acls: expected one of {', '.join(ROLES)}, or the folder of a unit, but found {role!r}")
    named = examined(Path(role), unit)
    return rights(named.name, topics, named.agents, named.publishes)
