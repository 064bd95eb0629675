"""Settings of every process: flags before environment before `farandole.toml` before defaults.

The one place that reads the environment. Built once per process; everything below is handed
values. A section is the settings class of the component that it is for: there its names,
defaults, units and reasons stand. `docs/reference/configuration.md` is made from these classes.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from farandole.cli.logs import LogSettings
from farandole.cli.sources import (
    Layer,
    Origin,
    flat,
    from_environment,
    from_file,
    from_flags,
    nested,
)
from farandole.coordinator.settings import CoordinatorLimits
from farandole.definition.policy import duration
from farandole.definition.project import FILE, nearest_file
from farandole.errors import ConfigError, DefinitionError
from farandole.ids import is_name, is_text
from farandole.registry.http import HttpSettings
from farandole.runtime.settings import AgentLimits
from farandole.telemetry.settings import MetricsSettings
from farandole.transport.sqlite.settings import SqliteSettings
from farandole.transport.topology import PARTITIONS_MAX

__all__ = ["FILE", "Loaded", "Settings", "load", "load_settings", "nearest_file"]

SECTIONS: Mapping[str, type] = {
    "embedded": SqliteSettings,
    "agent": AgentLimits,
    "coordinator": CoordinatorLimits,
    "registry": HttpSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
}
"""Sections of the file and the classes that they are for; `[kafka]` is librdkafka's."""

BESIDE_THE_FILE: Mapping[str, str] = {
    "artifacts": ".farandole/artifacts",
    "embedded.path": ".farandole/log.db",
    "topics": "topics",
}
"""Defaults that belong to a project: two terminals in different folders of it meet, and neither undoes retention."""


def _with_durations(value: object) -> object:
    """Pydantic reads ISO 8601; people write `10s`."""
    if not isinstance(value, dict):
        return value
    return {name: _as_duration(name, each) for name, each in value.items()}


def _as_duration(name: str, value: object) -> object:
    is_time = any(name in fields_of(section) and hints[name] == timedelta for section, hints in _hints())
    if not is_time or not isinstance(value, str):
        return value
    try:
        return duration(value)
    except DefinitionError as bad:
        raise ValueError(f"{name}: {bad}") from None


def _hints() -> Iterator[tuple[type, dict[str, object]]]:
    for section in SECTIONS.values():
        hints = {name: _plain(kind) for name, kind in get_type_hints(section).items()}
        yield section, hints


def _plain(kind: object) -> object:
    return timedelta if kind == timedelta | None else kind


def _built(value: object, build: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
    """A section, and its name at the head of what its class refuses."""
    try:
        return build(_with_durations(value))
    except ConfigError as bad:
        key = str(bad).partition(":")[0]
        if key not in fields_of(SECTIONS[info.field_name or ""]):
            raise
        raise ConfigError(f"settings: {info.field_name}.{bad}") from None


Section = WrapValidator(_built)


class Settings(BaseModel):
    """What every command may need; `None` is the absence of a section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap: str | None = None
    """Kafka's address, `host:port[,host:port]`; without one the log is a file of the project (`[embedded]`)."""

    namespace: str = "farandole"
    """Prefix of all topics and groups."""

    profile: Literal["development", "production"] = "development"
    """`production` refuses what is unsafe there, see below."""

    allow_plaintext: bool = False
    """Lets `production` talk to Kafka and to a registry without TLS: for networks that encrypt by themselves."""

    artifacts: Path = Path(".farandole/artifacts")
    """Folder of payloads above the inline limit; the same one for all processes."""

    topics: Path = Path("topics")
    """Folder of topic overrides and own topics, if it exists; beside `farandole.toml`, wherever one works."""

    partitions: int | None = Field(default=None, ge=1, le=PARTITIONS_MAX)
    """P at the first `apply`, fixed for ever; without it what exists, else 12."""

    replication: int = Field(default=-1, ge=-1)
    """Replicas of created topics; -1 is the broker's default, and 3 in `production`."""

    kafka: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further settings of the connection under librdkafka's names (`security.protocol`, …)."""

    embedded: Annotated[SqliteSettings, Section] = SqliteSettings()
    agent: Annotated[AgentLimits, Section] = AgentLimits()
    coordinator: Annotated[CoordinatorLimits, Section] = CoordinatorLimits()
    registry: Annotated[HttpSettings | None, Section] = None
    log: Annotated[LogSettings, Section] = LogSettings()
    metrics: Annotated[MetricsSettings, Section] = MetricsSettings()

    @field_validator("kafka", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        """librdkafka takes texts; TOML has numbers and booleans."""
        if not isinstance(value, dict):
            return value
        return {name: str(each).lower() if isinstance(each, bool) else str(each) for name, each in flat(value)}

    @field_validator("bootstrap")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not is_text(value):
            raise ValueError("expected host:port in UTF-8")
        return value

    @field_validator("namespace")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not is_name(value):
            raise ValueError("expected a name of a-z 0-9 _ - (a letter first, at most 63)")
        return value

    @property
    def is_production(self) -> bool:
        """Whether what is unsafe is refused."""
        return self.profile == "production"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with where they come from. `origins` has the keys that somebody set; `strangers` variables ignored."""

    settings: Settings
    origins: Mapping[str, Origin]
    file: Path | None = None
    strangers: tuple[str, ...] = ()

    def origin(self, key: str) -> Origin:
        """Who set a key."""
        return self.origins.get(key, Origin.DEFAULT)


def load_settings(config: Path | None = None, **flags: object) -> Settings:
    """The settings of this process; flags that are None were not given.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, a value is wrong, or `production` refuses one.
    """
    return load(config, **flags).settings


def load(config: Path | None = None, **flags: object) -> Loaded:
    """As `load_settings`, with the origin of each key."""
    from farandole.cli.production import require

    path = config if config is not None else nearest_file(Path.cwd())
    ours, strangers = from_environment(os.environ, frozenset(Settings.model_fields))
    layers = [*([from_file(path)] if path is not None else []), ours, from_flags(flags)]
    for layer in layers:
        _refuse_unknown(layer)
    merged = {name: value for layer in layers for name, value in layer.keys.items()}
    origins = {name: layer.origin for layer in layers for name in layer.keys}
    if path is not None:
        merged = {name: str(path.parent / default) for name, default in BESIDE_THE_FILE.items()} | merged
    try:
        settings = Settings.model_validate(nested(merged))
    except ValidationError as bad:
        raise ConfigError(_told(bad, layers)) from None
    loaded = Loaded(settings, origins, path, strangers)
    require(loaded.settings, origins)
    return loaded


def fields_of(section: type) -> tuple[str, ...]:
    """The keys of a section."""
    return tuple(each.name for each in fields(section) if each.init) if is_dataclass(section) else ()


def _refuse_unknown(layer: Layer) -> None:
    problems = [told for name in layer.keys if (told := _unknown(name))]
    if problems:
        raise ConfigError(f"settings ({layer.place}): " + "; ".join(problems))


def _unknown(name: str) -> str:
    """What is wrong with the name of a key; empty if nothing is. Names in `[kafka]` are librdkafka's to judge."""
    section, _, key = name.partition(".")
    if not key or section not in Settings.model_fields:
        known = list(Settings.model_fields)
        wrong = section not in known
        return _suggestion(name, section, known, "") if wrong else ""
    if section in SECTIONS:
        known = list(fields_of(SECTIONS[section]))
        return "" if key in known else _suggestion(name, key, known, f"{section}.")
    return "" if section == "kafka" else f"{name}: expected one value for {section}, but found a section"


def _suggestion(name: str, word: str, known: list[str], prefix: str) -> str:
    near = difflib.get_close_matches(word, known, 1)
    meant = f"; did you mean {prefix}{near[0]}?" if near else ""
    return f"{name}: expected one of {', '.join(sorted(known))}, but this key is unknown{meant}"


def _told(bad: ValidationError, layers: list[Layer]) -> str:
    lines, places = [], []
    for error in bad.errors(include_url=False):
        key = ".".join(str(part) for part in error["loc"])
        found = "" if is_secret(key) or isinstance(error["input"], dict) else f", but found {error['input']!r}"
        lines.append(f"{key}: {error['msg'].removeprefix('Value error, ')}{found}")
        places += [layer.place for layer in layers if any(name.startswith(key) for name in layer.keys)]
    where = f"settings ({places[-1]})" if places else "settings"
    return f"{where}: " + "; ".join(lines)


def is_secret(key: str) -> bool:
    """Whether the value of a key must not be shown."""
    return key.endswith(("password", "passphrase", "secret", ".pem", "oauthbearer.config"))
