"""`farandole doctor`: gather, judge, tell; exit code 1 if something is an error."""

from typing import TYPE_CHECKING

import typer

from farandole.cli.options import Bootstrap, ConfigFile, Json, Namespace

if TYPE_CHECKING:
    from farandole.cli.doctor.facts import Facts, Finding, Local
    from farandole.cli.settings import Loaded, Settings


def doctor(
    bootstrap: Bootstrap = None, namespace: Namespace = None, config: ConfigFile = None, json: Json = False
) -> None:
    """Look a deployment over: what is wrong, why it matters, and the command that mends it.

    Exit codes: 0 nothing is wrong (warnings and notes there may be), 1 something is.
    """
    from farandole.cli.doctor.facts import Severity
    from farandole.cli.output import print_json
    from farandole.cli.settings import load

    loaded = load(config, bootstrap=bootstrap, namespace=namespace)
    facts, found = examine(loaded)
    if json:
        print_json({"versions": versions(facts), "findings": found})
    else:
        _tell(facts, found, loaded)
    raise typer.Exit(1 if any(each.severity is Severity.ERROR for each in found) else 0)


def examine(loaded: "Loaded") -> tuple["Facts | None", list["Finding"]]:
    """Facts about the cluster (None: it was not reached), and all findings, the worst first."""
    from farandole.cli.doctor.absent import look_for_absent
    from farandole.cli.doctor.facts import Finding, Severity
    from farandole.cli.doctor.findings import findings
    from farandole.cli.doctor.gather import Gatherer, registry_findings
    from farandole.cli.doctor.machine import judge, look
    from farandole.errors import AccessDenied, TransportError

    seen = look(loaded)
    local = [*registry_findings(loaded.settings), *judge(seen)]
    order = list(Severity)
    if loaded.settings.bootstrap is None:
        found = [*_waiting(seen, local, loaded.settings), *local]
        return None, sorted(found, key=lambda each: order.index(each.severity))
    try:
        facts = Gatherer(loaded.settings).facts()
    except TransportError as error:
        code = "access_denied" if isinstance(error, AccessDenied) else "unreachable"
        away = Finding(
            Severity.ERROR,
            code,
            str(error),
            "no process can work, and nothing else was checked",
            f"kcat -L -b {loaded.settings.bootstrap} asks by hand; see bootstrap and [kafka] in farandole.toml",
        )
        return None, [away, *local]
    back = {each.unit for each in facts.back}
    found = [*findings(facts), *look_for_absent(loaded.settings, back), *local]
    return facts, sorted(found, key=lambda each: order.index(each.severity))


def _waiting(seen: "Local", told: "list[Finding]", settings: "Settings") -> list["Finding"]:
    """Who is absent from the embedded log. Where that can be used by nobody it was told, and that nobody uses it is no
    news; nothing is asked of an empty file either, for to open it is to make a log of it."""
    from farandole.cli.doctor.absent import look_for_absent, not_applied
    from farandole.cli.doctor.facts import Severity

    if any(each.severity is Severity.ERROR and each.code.startswith("log_") for each in told):
        return []
    return [not_applied(settings)] if seen.log is not None and seen.log.is_empty else look_for_absent(settings)


def versions(facts: "Facts | None") -> dict[str, str]:
    """Versions of everything that takes part; SQLite's where no Kafka was asked."""
    from importlib.metadata import version

    import confluent_kafka

    from farandole.cli.doctor.findings import kafka_version
    from farandole.cli.doctor.machine import sqlite_version

    log = {"sqlite": sqlite_version()} if facts is None else {"kafka": kafka_version(facts.inspected.api_versions)}
    return {
        **log,
        "farandole": version("farandole"),
        "confluent-kafka": version("confluent-kafka"),
        "librdkafka": confluent_kafka.libversion()[0],
        "aiokafka": version("aiokafka"),
    }


def _tell(facts: "Facts | None", found: list["Finding"], loaded: "Loaded") -> None:
    where = f"{loaded.settings.bootstrap or loaded.settings.embedded.path}, namespace {loaded.settings.namespace}"
    typer.echo(f"{where}: " + ", ".join(f"{name} {number}" for name, number in versions(facts).items()))
    colors = {"error": typer.colors.RED, "warning": typer.colors.YELLOW, "note": typer.colors.BLUE}
    for each in found:
        typer.secho(f"{each.severity.value}: ", fg=colors[each.severity.value], bold=True, nl=False)
        typer.echo(f"{each.fact}\n  why: {each.why}\n  fix: {each.fix}")
    count = sum(each.severity.value == "error" for each in found)
    typer.echo(f"{len(found)} findings, {count} of them errors" if found else "nothing found")
