"""What every process and every application must know of a project: its log, its names, its artifact store.

The command line adds the sections of its processes (`farandole.cli.settings`). Knows no source of settings.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator, field_validator

from farandole.definition.policy import duration
from farandole.errors import ConfigError, DefinitionError
from farandole.ids import is_name, is_text
from farandole.registry.http import HttpSettings
from farandole.settings.sources import flat
from farandole.transport.sqlite.settings import SqliteSettings
from farandole.transport.topology import PARTITIONS_MAX

PROCESSES = frozenset({"agent", "coordinator", "log", "metrics"})
"""Sections of processes: in the same file, and none of an application's business."""


def section(name: str, kind: type) -> WrapValidator:
    """Builds a section from what a source says: `10s` is a duration, and what its class refuses is told by its name."""
    hints = get_type_hints(kind)
    durations = frozenset(key for key, hint in hints.items() if hint in (timedelta, timedelta | None))
    numbers = frozenset(key for key, hint in hints.items() if hint in (int, int | None))

    def built(value: object, build: ValidatorFunctionWrapHandler) -> object:
        try:
            return build(dict(_read(value, durations, numbers)) if isinstance(value, dict) else value)
        except ConfigError as bad:
            if str(bad).partition(":")[0] not in fields_of(kind):
                raise
            raise ValueError(str(bad)) from None  # told with its section, and where that stands

    return WrapValidator(built)


def _read(
    value: Mapping[str, object], durations: frozenset[str], numbers: frozenset[str]
) -> Iterator[tuple[str, object]]:
    """Pydantic reads ISO 8601, seconds without a unit, and truths as 1 and 0; people write `10s`."""
    for name, each in value.items():
        if name in numbers:
            _refuse_truth(name, each)
        if name not in durations:
            yield name, each
            continue
        try:
            yield name, duration(each)  # type: ignore[arg-type]  # the file holds whatever it holds
        except DefinitionError as bad:
            raise ValueError(f"{name}: {bad}") from None


def _refuse_truth(name: str, value: object) -> None:
    if isinstance(value, bool):
        raise ValueError(f"{name}: expected a whole number, but found {str(value).lower()}")


def fields_of(kind: type) -> tuple[str, ...]:
    """The keys of a section."""
    return tuple(each.name for each in fields(kind) if each.init) if is_dataclass(kind) else ()


class Connection(BaseModel):
    """How a log is reached and what is where; `None` is the absence of a section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sections: ClassVar[Mapping[str, type]] = {"embedded": SqliteSettings, "registry": HttpSettings}
    """Sections and the classes that they are for; `[kafka]` is librdkafka's."""

    left_out: ClassVar[frozenset[str]] = PROCESSES
    """Sections of the same file that are not read here."""

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

    embedded: Annotated[SqliteSettings, section("embedded", SqliteSettings)] = SqliteSettings()
    registry: Annotated[HttpSettings | None, section("registry", HttpSettings)] = None

    @field_validator("kafka", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        """librdkafka takes texts; TOML has numbers and booleans."""
        if not isinstance(value, dict):
            return value
        return {name: str(each).lower() if isinstance(each, bool) else str(each) for name, each in flat(value)}

    @field_validator("partitions", "replication", mode="before")
    @classmethod
    def _is_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("expected a whole number")
        return value

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
