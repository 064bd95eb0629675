"""Settings of this process: flags before environment before `farandole.toml` before defaults.

The one place that reads the environment. Everything below is handed values. A section is the settings class of the
component that it is for: there its names, defaults, units and reasons stand.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from farandole.definition.project import nearest_file
from farandole.errors import ConfigError
from farandole.settings.connection import Connection, fields_of
from farandole.settings.production import require
from farandole.settings.sources import PREFIX, Keys, Layer, Origin, from_environment, from_file, from_flags, nested

S = TypeVar("S", bound=Connection)

BESIDE_THE_FILE: Mapping[str, str] = {
    "artifacts": ".farandole/artifacts",
    "embedded.path": ".farandole/log.db",
    "topics": "topics",
}
"""Defaults that belong to a project: two terminals in different folders of it meet, and neither undoes retention."""


EXPECTED: Mapping[str, str] = {
    "path_type": "expected a path, as text",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "expected a whole number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
}
"""What pydantic says in the words of Python, by its kind of error."""


@dataclass(frozen=True, slots=True)
class Read(Generic[S]):
    """Settings with where they come from. `origins` has the keys that somebody set; `strangers` variables ignored."""

    settings: S
    origins: Mapping[str, Origin]
    file: Path | None = None
    strangers: tuple[str, ...] = ()

    def origin(self, key: str) -> Origin:
        """Who set a key."""
        return self.origins.get(key, Origin.DEFAULT)


def read(kind: type[S], config: Path | None = None, flags: Keys | None = None) -> Read[S]:
    """The settings of this process; flags that are None were not given.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, a value is wrong, or `production` refuses one.
    """
    path = config if config is not None else nearest_file(Path.cwd())
    ours, strangers = from_environment(os.environ, frozenset(kind.model_fields) | kind.left_out)
    found = [*([from_file(path)] if path is not None else []), ours, from_flags(flags or {})]
    layers = [_without(each, kind.left_out) for each in found]
    for layer in layers:
        _refuse_unknown(kind, layer)
    merged = {name: value for layer in layers for name, value in layer.keys.items()}
    origins = {name: layer.origin for layer in layers for name in layer.keys}
    if path is not None:
        merged = {name: str(path.parent / default) for name, default in BESIDE_THE_FILE.items()} | merged
    try:
        settings = kind.model_validate(nested(merged))
    except ValidationError as bad:
        raise ConfigError(_told(kind, bad, layers)) from None
    require(settings, origins)
    return Read(settings, origins, path, strangers)


def _without(layer: Layer, sections: frozenset[str]) -> Layer:
    keys = {name: value for name, value in layer.keys.items() if name.partition(".")[0] not in sections}
    return Layer(layer.origin, keys, layer.place)


def _refuse_unknown(kind: type[Connection], layer: Layer) -> None:
    problems = [told for name in layer.keys if (told := _unknown(kind, name))]
    if problems:
        raise ConfigError(f"settings ({layer.place}): " + "; ".join(problems))


def _unknown(kind: type[Connection], name: str) -> str:
    """What is wrong with the name of a key; empty if nothing is. Names in `[kafka]` are librdkafka's to judge."""
    section, _, key = name.partition(".")
    if not key and (section in kind.sections or section == "kafka"):
        return _no_section(kind, section)
    if not key or section not in kind.model_fields:
        known = list(kind.model_fields)
        wrong = section not in known
        return _suggestion(name, section, known, "") if wrong else ""
    if section in kind.sections:
        known = list(fields_of(kind.sections[section]))
        return "" if key in known else _suggestion(name, key, known, f"{section}.")
    return "" if section == "kafka" else f"{name}: expected one value for {section}, but found a section"


def _no_section(kind: type[Connection], section: str) -> str:
    """A value where a section belongs, which stays untold: an address of a registry may have a password in it."""
    key = fields_of(kind.sections[section])[0] if section in kind.sections else "security.protocol"
    variable = f"{PREFIX}{section}__{key.replace('.', '_')}".upper()
    return f"{section}: expected a section, [{section}] with {key} = … (or {variable}), but found one value"


def _suggestion(name: str, word: str, known: list[str], prefix: str) -> str:
    near = difflib.get_close_matches(word, known, 1)
    meant = f"; did you mean {prefix}{near[0]}?" if near else ""
    return f"{name}: expected one of {', '.join(sorted(known))}, but this key is unknown{meant}"


def _told(kind: type[Connection], bad: ValidationError, layers: list[Layer]) -> str:
    lines, places = [], []
    for error in bad.errors(include_url=False):
        key = ".".join(str(part) for part in error["loc"])
        found = "" if is_secret(key) or isinstance(error["input"], dict | list) else f", but found {error['input']!r}"
        text = EXPECTED.get(error["type"]) or error["msg"].removeprefix("Value error, ")
        inner = text.partition(":")[0]
        is_inner = key in kind.sections and inner in fields_of(kind.sections[key])
        lines.append(f"{key}{'.' if is_inner else ': '}{text}{found}")
        places += [layer.place for layer in layers if any(name.startswith(key) for name in layer.keys)]
    where = f"settings ({places[-1]})" if places else "settings"
    return f"{where}: " + "; ".join(lines)


def is_secret(key: str) -> bool:
    """Whether the value of a key must not be shown."""
    return key.endswith(("password", "passphrase", "secret", ".pem", "oauthbearer.config"))
