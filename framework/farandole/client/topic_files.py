"""A user's `topics/`: overrides of the declared topics, and own topics, one YAML file each.

    topic: <ns>.events          # `<ns>` stands for the namespace
    partitions: 24              # `home` and `agent`, as the published form has them, mean P
    config: {retention.ms: "31536000000"}

Only what differs needs to stand there; `holds` is for readers.
"""

from collections.abc import Mapping
from pathlib import Path

from farandole.definition.strict_yaml import load_strict
from farandole.errors import ConfigError
from farandole.transport.topology import Override

_KEYS = frozenset({"topic", "holds", "partitions", "replication", "config"})


def read_overrides(folder: Path, namespace: str) -> tuple[Override, ...]:
    """Every file of the folder, in the order of their names.

    Raises:
        ConfigError: a file is not as above; it says which.
        DefinitionError: a file is no YAML, with line and column.
    """
    return tuple(_read(path, namespace) for path in sorted(folder.glob("*.yaml")))


def _read(path: Path, namespace: str) -> Override:
    found = load_strict(path.read_bytes(), str(path)).plain()
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
