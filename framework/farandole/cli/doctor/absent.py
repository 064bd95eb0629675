"""Who is not there though something waits for it: coordinators, agents, or the log itself. On every kind of log."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing

from farandole.cli.connect import topics_of, transport_of
from farandole.cli.doctor.facts import Finding, Severity
from farandole.cli.settings import Settings
from farandole.client.planning import COORDINATOR
from farandole.client.serving import Lag, lags, nobody_serves
from farandole.errors import ConfigError, RegistryError, TransportError
from farandole.events.topics import Topics
from farandole.transport.port import Transport


def look_for_absent(settings: Settings, back: Collection[str] = ()) -> list[Finding]:
    """What waits for nobody, or why that cannot be told. On Kafka other rules tell that, which see more of it.

    `back`: units that must not be started now.
    """
    if settings.bootstrap is None and not settings.embedded.path.exists():
        return [
            Finding(
                Severity.NOTE,
                "no_log",
                f"{settings.embedded.path}: there is no log yet",
                "nothing was started here, or `bootstrap` is not set where a Kafka is meant",
                "farandole dev, or farandole apply PATH; --bootstrap HOST:PORT looks at a Kafka",
            )
        ]
    topics = topics_of(settings)
    transport = transport_of(settings)
    try:
        if settings.bootstrap is None and (found := _unapplied(transport, settings, topics)):
            return [found]
        return list(absent(lags(transport, topics), topics, back))
    except (ConfigError, TransportError) as error:
        return [] if settings.bootstrap is not None or isinstance(error, RegistryError) else [_unseen(error)]


def not_applied(settings: Settings, known: Collection[str] = ()) -> Finding:
    """A namespace without topics: an error where others have some, since it may be misspelt; a note on an empty log."""
    last = Topics("").definitions  # what stands behind a namespace
    others = ", ".join(sorted(name.removesuffix(last) for name in known if name.endswith(last)))
    return Finding(
        Severity.ERROR if known else Severity.NOTE,
        "not_applied",
        f"{settings.embedded.path}: namespace {settings.namespace} was never applied"
        + (f", but {others} was" if others else ""),
        "no process can start, and no run either",
        f"farandole apply PATH --namespace {settings.namespace}"
        + (", or name the namespace that is meant (--namespace, FARANDOLE_NAMESPACE, farandole.toml)" if known else ""),
    )


def _unapplied(transport: Transport, settings: Settings, topics: Topics) -> Finding | None:
    """Whether the namespace was never applied to the embedded log."""
    with closing(transport.admin()) as admin:
        known = admin.topics()
    return None if topics.definitions in known else not_applied(settings, known)


def _unseen(error: Exception) -> Finding:
    return Finding(
        Severity.ERROR,
        "log_unseen",
        str(error),
        "nothing is known of what waits in it, and no process can work on it",
        "see what the message names; then farandole doctor once more",
    )


def _behind(it: Lag) -> str:
    """In offsets: a position does not tell records from the markers of transactions, and to count would be to read."""
    return f"{it.behind:,} offset{'' if it.behind == 1 else 's'} (of records and markers) in {it.topic}"


def absent(found: Iterable[Lag], topics: Topics, back: Collection[str] = ()) -> Iterator[Finding]:
    """From lags to findings. A number without an age is of markers alone, which nobody must read.

    Nothing is said of the units `back`: their positions went back, and to start them is what must not be done.
    """
    waiting = [each for each in found if each.processes == 0 and each.behind and each.oldest is not None]
    ours = [each for each in waiting if each.unit == COORDINATOR]
    if ours:
        told = " and ".join(_behind(each) for each in ours)
        yield Finding(
            Severity.ERROR,
            "no_coordinator",
            f"{told} wait, and no coordinator runs",
            "no run begins or ends; nothing is retried, and no deadline passes",
            "farandole coordinator run (or farandole dev, in the project's folder)",
        )
    for each in waiting:
        if each.unit != COORDINATOR and each.unit not in back:
            agent = each.topic.removeprefix(topics.inbox(""))
            nobody = f"no process of unit {each.unit} runs"
            start = f"farandole agent run PATH, with the folder of unit {each.unit} (or farandole dev)"
            if each.without:
                nobody = nobody_serves(agent, each.unit, each.without)
                start = (
                    f"{start}, anew from code that has the agent; where it was renamed or taken out on purpose, "
                    "farandole run cancel RUN for the runs that wait for it"
                )
            yield Finding(
                Severity.ERROR,
                "unserved_inbox",
                f"{_behind(each)} wait, and {nobody}",
                f"runs stand still at the steps of agent {agent}",
                start,
            )
