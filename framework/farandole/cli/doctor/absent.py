"""Who is not there though something waits for it: coordinators, agents, or the log itself. On every kind of log."""

from collections.abc import Iterable, Iterator

from farandole.cli.connect import topics_of, transport_of
from farandole.cli.doctor.facts import Finding, Severity
from farandole.cli.settings import Settings
from farandole.client.planning import COORDINATOR
from farandole.client.serving import Lag, lags, nobody_serves
from farandole.errors import ConfigError, TransportError
from farandole.events.topics import Topics


def look_for_absent(settings: Settings) -> list[Finding]:
    """What waits for nobody; nothing where we cannot see it, which other rules tell."""
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
    try:
        return list(absent(lags(transport_of(settings), topics), topics))
    except (ConfigError, TransportError):
        return []


def absent(found: Iterable[Lag], topics: Topics) -> Iterator[Finding]:
    """From lags to findings. A number without an age is of markers alone, which nobody must read."""
    waiting = [each for each in found if each.processes == 0 and each.behind and each.oldest is not None]
    ours = [each for each in waiting if each.unit == COORDINATOR]
    if ours:
        told = " and ".join(f"{each.behind:,} records in {each.topic}" for each in ours)
        yield Finding(
            Severity.ERROR,
            "no_coordinator",
            f"{told} wait, and no coordinator runs",
            "no run begins or ends; nothing is retried, and no deadline passes",
            "farandole coordinator run (or farandole dev, in the project's folder)",
        )
    for each in waiting:
        if each.unit != COORDINATOR:
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
                f"{each.behind:,} records in {each.topic} wait, and {nobody}",
                f"runs stand still at the steps of agent {agent}",
                start,
            )
