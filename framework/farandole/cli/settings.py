"""Settings of the command line: flags before environment before `farandole.toml` before defaults.

The one place that reads the environment (`FARANDOLE_*`, nested ones as `FARANDOLE_KAFKA__...`).
Built once per process; everything below is handed values. Paths in the file are relative to
the file, those from elsewhere to the working folder.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from farandole.errors import ConfigError
from farandole.ids import is_name
from farandole.transport.topology import PARTITIONS_MAX

FILE = "farandole.toml"
"""Marks a project; looked for in the working folder and above it."""

_PATHS = ("artifacts", "topics")


class Settings(BaseSettings):
    """What every command may need. Unknown keys in the file are refused, for a misspelt one would be silent."""

    model_config = SettingsConfigDict(
        env_prefix="FARANDOLE_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )
    file: ClassVar[dict[str, object]] = {}
    """Content of the file for the instance in the making; set by `load_settings` alone."""

    bootstrap: str = "localhost:9092"
    """Kafka's address; a broker on the same machine unless told otherwise."""

    namespace: str = "farandole"
    """Prefix of all topics and groups."""

    artifacts: Path = Path(".farandole/artifacts")
    """Where payloads above the inline limit are kept; the same folder for all processes."""

    topics: Path = Path("topics")
    """Folder of topic overrides and own topics, if it exists."""

    partitions: int | None = Field(default=None, ge=1, le=PARTITIONS_MAX)
    """P at the first `apply`; None is what exists, else 12."""

    replication: int = Field(default=-1, ge=-1)
    """Replicas of created topics; -1 is the broker's default."""

    kafka: dict[str, str] = Field(default_factory=dict)
    """Further settings of the connection under librdkafka's names (`security.protocol`, …)."""

    @field_validator("kafka", mode="before")
    @classmethod
    def _flat(cls, value: object) -> object:
        return dict(_flattened(value, "")) if isinstance(value, dict) else value

    @field_validator("namespace")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not is_name(value):
            raise ValueError("expected a name of a-z 0-9 _ - (a letter first, at most 63)")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, file; no `.env` and no secrets folder."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(cls.file))


def load_settings(config: Path | None = None, **flags: object) -> Settings:
    """The settings of this process; flags that are None were not given.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is wrong.
    """
    path = config if config is not None else nearest_file(Path.cwd())
    content = read_file(path) if path is not None else {}
    given = {name: value for name, value in flags.items() if value is not None}
    Settings.file = content
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as bad:
        raise ConfigError(_told(bad, path)) from None
    except RecursionError:
        raise ConfigError(f"settings ({path}): expected tables within tables, but far fewer of them") from None
    finally:
        Settings.file = {}


def nearest_file(folder: Path) -> Path | None:
    """The `farandole.toml` of the folder or of the nearest one above it."""
    return next((each / FILE for each in (folder, *folder.parents) if (each / FILE).is_file()), None)


def read_file(path: Path) -> dict[str, object]:
    """The content of a settings file, with its paths made absolute.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        content: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ConfigError(f"{path}: expected a file of TOML, but it is nested far too deep") from None
    except (OSError, ValueError) as bad:
        raise ConfigError(f"{path}: expected a file of TOML, but {bad}") from None
    for name in _PATHS:
        if isinstance(content.get(name), str):
            content[name] = path.parent / str(content[name])
    return content


def _flattened(value: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    """TOML reads `security.protocol = "SSL"` as a table in a table; librdkafka's names have the dots."""
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _flattened(each, f"{prefix}{name}.")
        else:
            yield prefix + name, str(each).lower() if isinstance(each, bool) else str(each)


def _told(bad: ValidationError, path: Path | None) -> str:
    lines = []
    for error in bad.errors(include_url=False):
        key = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            known = ", ".join(sorted(Settings.model_fields))
            lines.append(f"{key}: expected one of {known}, but this key is unknown")
        else:
            lines.append(f"{key}: {error['msg']}, but found {error['input']!r}")
    where = f"settings ({path})" if path is not None else "settings"
    return f"{where}: " + "; ".join(lines)
