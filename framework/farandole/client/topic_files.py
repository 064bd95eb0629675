"""A user's `topics/`: overrides of the declared topics, and own topics, one YAML file each.

    topic: <ns>.inbox.<agent>   # `<ns>` stands for the namespace
    partitions: 24              # `home` and `agent`, as the published form has them, mean P
    config: {retention.ms: "1209600000"}

Only what differs needs to stand there; `holds` is for readers. The partitions of home topics are P for all of them,
which `make_plan` holds them to. A file that would do nothing, or what `apply` cannot do
or a process then refuses, is an error here: retention that one believes to be set deletes history.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from farandole.definition.strict_yaml import load_strict, read_file
from farandole.errors import ConfigError
from farandole.ids import TOPIC_RULE, is_name, is_topic
from farandole.transport.topology import ANY_AGENT, DECLARED, Declared, Override

_KEYS = frozenset({"topic", "holds", "partitions", "replication", "config"})

_INTEGERS = re.compile(r".*\.(ms|bytes|messages|replicas)\Z")
"""Settings of a topic that Kafka takes whole numbers for. Source: its documentation of topic configs."""


def read_overrides(folder: Path, namespace: str, own: Sequence[str] = ()) -> tuple[Override, ...]:
    """Every file of the folder, in the order of their names; `own` are topics that agents publish to.

    Raises:
        ConfigError: a file is not as above; it says which.
        DefinitionError: a file is no YAML, with line and column.
    """
    files = sorted(each for each in folder.iterdir() if each.suffix in (".yaml", ".yml") and each.is_file())
    read = [(path, _read(path, namespace)) for path in files]
    for path, it in read:
        _require_sense(path, it, namespace, own)
    return tuple(it for _, it in read)


def _require_sense(path: Path, it: Override, namespace: str, own: Sequence[str]) -> None:
    for name, value in (it.config or {}).items():
        _require_number(path, name, value)
    if it.name in own:
        return
    prefix = f"{namespace}."
    declared = _declared(it.name.removeprefix(prefix))
    if it.name.startswith(prefix):
        if declared is None:
            raise ConfigError(
                f"{path}: topic: expected a topic of the namespace, but found {it.name!r}; {_near(it.name, prefix)}"
            )
        _require_policy(path, it, declared)
    elif declared is not None:
        raise ConfigError(
            f"{path}: topic: expected `<ns>.` before {it.name}, but found none, which means a topic of your own; "
            f"write `topic: <ns>.{it.name}`, or give yours another name"
        )
    elif not is_topic(it.name):
        raise ConfigError(f"{path}: topic: expected a name of {TOPIC_RULE}, but found {it.name!r:.80}")


def _declared(rest: str) -> Declared | None:
    """What a name without its namespace stands for, if for anything of ours."""
    kind, dot, agent = rest.partition(".")
    for each in DECLARED:
        of_agents = each.name.endswith(ANY_AGENT)
        if each.kind == kind and bool(dot) == of_agents and (not dot or agent == ANY_AGENT or is_name(agent)):
            return each
    return None


def _near(name: str, prefix: str) -> str:
    known = [each.name.replace("<ns>.", prefix) for each in DECLARED]
    near = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {near[0].replace(prefix, '<ns>.', 1)}? " if near else ""
    return f"{meant}There are {', '.join(each.name for each in DECLARED)}; a topic of your own has another prefix"


def _require_policy(path: Path, it: Override, declared: Declared) -> None:
    """Whether records of ours are a table or history is not for a file to say: no process would start."""
    given = (it.config or {}).get("cleanup.policy")
    ours = next(value for name, value, _ in declared.config if name == "cleanup.policy")
    if given not in (None, ours):
        raise ConfigError(
            f"{path}: config: cleanup.policy: expected {ours} for {it.name}, but found {given}; it cannot be changed. "
            "retention.ms says how long records are kept"
        )


def _require_number(path: Path, name: str, value: str) -> None:
    wants = "a whole number" if _INTEGERS.match(name) else "a number" if name.endswith(".ratio") else ""
    shape = r"-?\d{1,19}" if _INTEGERS.match(name) else r"\d+(\.\d+)?"
    if wants and not re.fullmatch(shape, value, re.ASCII):
        raise ConfigError(f"{path}: config: {name}: expected {wants}, but found {value!r}")


def _read(path: Path, namespace: str) -> Override:
    found = load_strict(read_file(path), str(path)).plain()
    if not isinstance(found, Mapping) or not isinstance(found.get("topic"), str):
        raise ConfigError(f"{path}: expected a mapping with `topic: NAME`, but found {found!r:.80}")
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        raise ConfigError(f"{path}: expected keys among {', '.join(sorted(_KEYS))}, but found {', '.join(unknown)}")
    config = found.get("config") or {}
    if not isinstance(config, Mapping):
        raise ConfigError(f"{path}: config: expected a mapping, but found {config!r:.80}")
    return Override(
        str(found["topic"]).replace("<ns>", namespace),
        _count(path, "partitions", found.get("partitions")),
        _count(path, "replication", found.get("replication")),
        {str(name): _text(value) for name, value in config.items()},
    )


def _count(path: Path, name: str, value: object) -> int | None:
    if value in (None, "home", "agent"):
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{path}: {name}: expected a number above zero, but found {value!r}")
    return value


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
