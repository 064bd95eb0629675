"""What the doctor says of transactions that nobody ends any more. Pure."""

from collections.abc import Iterator

from farandole.cli.doctor.facts import Facts, Finding, Severity
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import Forgotten

_WORDS = {
    Ending.COMMITTED: "it was committed",
    Ending.ABORTED: "it was rolled back",
    Ending.UNKNOWN: "nobody can tell how it ended",
}


def forgotten(facts: Facts) -> Iterator[Finding]:
    """One for each writer and outcome."""
    for name, ending in sorted({(each.transactional_id, each.ending) for each in facts.forgotten}, key=str):
        its = [each for each in facts.forgotten if (each.transactional_id, each.ending) == (name, ending)]
        places = ", ".join(f"{each.at.topic}[{each.at.partition}] from {each.start}" for each in its)
        yield Finding(
            Severity.ERROR,
            "forgotten_transaction",
            f"a transaction of {name} is open in {places}, and its coordinator says {its[0].state}: {_WORDS[ending]}",
            "a broker that started after a crash left its markers out: readers of these partitions wait for ever",
            _aborts(facts, its) if ending is Ending.UNKNOWN else _end(facts, ending),
        )


def _end(facts: Facts, ending: Ending) -> str:
    command = f"farandole transactions end --bootstrap {facts.bootstrap} --namespace {facts.namespace}"
    if ending is Ending.COMMITTED:
        return (
            f"{command} (commits it there too; kafka-transactions.sh can only abort, and what it wrote there is lost)"
        )
    return f"{command} (aborts it there too)"


def _aborts(facts: Facts, its: list[Forgotten]) -> str:
    commands = "; ".join(
        f"kafka-transactions.sh --bootstrap-server {facts.bootstrap} abort --topic {each.at.topic} "
        f"--partition {each.at.partition} --start-offset {each.start}"
        for each in its
    )
    return (
        "look first whether records of it are visible in another partition: then it was committed, and is torn by what "
        f"follows. If none are, abort it: {commands} (or farandole transactions end --abort-unknown)"
    )
