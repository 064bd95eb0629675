"""Settings of the command line and its processes: what every application reads, and the sections of processes.

Built once per process by `farandole.settings.reading`; everything below is handed values.
`docs/reference/configuration.md` is made from these classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, TypeAlias

from farandole.cli.logs import LogSettings
from farandole.coordinator.settings import CoordinatorLimits
from farandole.definition.project import FILE, nearest_file
from farandole.runtime.settings import AgentLimits
from farandole.settings.connection import Connection, section
from farandole.settings.reading import Read, is_secret, read
from farandole.telemetry.settings import MetricsSettings

__all__ = ["FILE", "Loaded", "SECTIONS", "Settings", "is_secret", "load", "load_settings", "nearest_file"]

SECTIONS: Mapping[str, type] = {
    **Connection.sections,
    "agent": AgentLimits,
    "coordinator": CoordinatorLimits,
    "log": LogSettings,
    "metrics": MetricsSettings,
}
"""Sections of the file and the classes that they are for; `[kafka]` is librdkafka's."""


class Settings(Connection):
    """What every command may need."""

    sections: ClassVar[Mapping[str, type]] = SECTIONS
    left_out: ClassVar[frozenset[str]] = frozenset()

    agent: Annotated[AgentLimits, section("agent", AgentLimits)] = AgentLimits()
    coordinator: Annotated[CoordinatorLimits, section("coordinator", CoordinatorLimits)] = CoordinatorLimits()
    log: Annotated[LogSettings, section("log", LogSettings)] = LogSettings()
    metrics: Annotated[MetricsSettings, section("metrics", MetricsSettings)] = MetricsSettings()


Loaded: TypeAlias = Read[Settings]
"""Settings of a command with where they come from."""


def load_settings(config: Path | None = None, **flags: object) -> Settings:
    """The settings of this process; flags that are None were not given.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, a value is wrong, or `production` refuses one.
    """
    return load(config, **flags).settings


def load(config: Path | None = None, **flags: object) -> Loaded:
    """As `load_settings`, with the origin of each key."""
    return read(Settings, config, flags)
