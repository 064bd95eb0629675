"""Where settings come from: `farandole.toml`, then the environment, then flags; later ones win.

Each source is read into the same shape, a mapping of keys with sections as mappings in it, so that
they can be laid over each other and one can say of every key who set it. Knows no setting but the
shape of `[kafka]`, whose names have dots in them.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from farandole.errors import ConfigError

PREFIX = "FARANDOLE_"
"""Of our variables in the environment; a section and its key are joined by two underscores."""

TESTS = f"{PREFIX}TEST_"
"""Of variables for the test suite (`farandole.testing`), which are no settings."""

DOTTED = "kafka"
"""The section whose keys are librdkafka's and have dots in them."""

PATHS = ("artifacts", "topics", "embedded.path", "registry.ca", "registry.certificate", "registry.key")
"""Keys that hold paths: relative ones in the file are relative to the file."""

PATHS_NEEDED = ("artifacts", "topics", "embedded.path")
"""Those of them that cannot be left empty: an empty path would be the folder of the file itself."""

KAFKA_PATHS = frozenset({"https.ca.location", "ssl.ca.location", "ssl.certificate.location", "ssl.key.location"})

Keys = Mapping[str, object]


class Origin(Enum):
    """Who set a key, weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says, flat: `agent.threads`, `kafka.sasl.password`, `bootstrap`."""

    origin: Origin
    keys: Keys
    place: str
    """How messages name it."""


def from_file(path: Path) -> Layer:
    """A settings file, its relative paths made relative to where it stands.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        # Editors on Windows begin a file with a mark, which is no TOML.
        content: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        keys = dict(flat(content))
    except RecursionError:
        raise ConfigError(f"{path}: expected a file of TOML, but it is nested far too deep") from None
    except (OSError, ValueError) as bad:
        raise ConfigError(f"{path}: expected a file of TOML, but {bad}") from None
    for name, value in keys.items():
        is_path = name in PATHS or name.removeprefix(f"{DOTTED}.") in KAFKA_PATHS
        if value == "" and name in PATHS_NEEDED:
            raise ConfigError(f"settings ({path}): {name}: expected a path, but it is empty; leave it out")
        if is_path and value and isinstance(value, str):
            keys[name] = str(path.parent / value)
    return Layer(Origin.FILE, keys, str(path))


def from_environment(environment: Mapping[str, str], known: frozenset[str]) -> tuple[Layer, tuple[str, ...]]:
    """Our variables, and the names of those that are nobody's.

    `known` are keys and sections of the top level. A variable outside them is left alone: an orchestrator may set
    such for reasons of its own (Kubernetes does for a service called `farandole`). Empty ones count as not set.
    """
    keys: dict[str, object] = {}
    strangers = []
    for name, value in sorted(environment.items()):
        if not name.upper().startswith(PREFIX) or name.upper().startswith(TESTS) or not value:
            continue
        first, *rest = name[len(PREFIX) :].lower().split("__")
        if first not in known:
            strangers.append(name)
        elif first == DOTTED:
            keys[".".join([first, *"_".join(rest).replace("_", " ").split()])] = value
        else:
            keys[".".join([first, *rest])] = value
    return Layer(Origin.ENVIRONMENT, keys, "environment"), tuple(strangers)


def from_flags(flags: Mapping[str, object]) -> Layer:
    """What the command line says; flags that are None were not given. `log_level` is `log.level`, and so on."""
    sections = ("embedded", "log", "agent", "coordinator", "registry", "metrics")
    keys = {}
    for name, value in flags.items():
        first, _, rest = name.partition("_")
        keys[f"{first}.{rest}" if rest and first in sections else name] = value
    return Layer(Origin.FLAG, {name: value for name, value in keys.items() if value is not None}, "flags")


def flat(content: Keys, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Keys with dots for sections. TOML reads `security.protocol = "SSL"` as a table, librdkafka's names have dots."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def nested(keys: Keys) -> dict[str, object]:
    """Flat keys as sections again: all that follows the first dot is a key of the section."""
    content: dict[str, object] = {}
    for name, value in keys.items():
        section, _, rest = name.partition(".")
        if not rest:
            content.setdefault(section, value)
            continue
        table = content.setdefault(section, {})
        if isinstance(table, dict):
            table[rest] = value
    return content
