"""A unit as it is deployed: what its folder defines, under the name it goes by."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farandole.cli.output import prints_aside
from farandole.cli.settings import Settings
from farandole.definition.loading import Unit, load_unit
from farandole.definition.model import Definition
from farandole.errors import ConfigError, DefinitionError
from farandole.events.avro import Schema, mistaken
from farandole.events.catalogue import ALL, schema_of
from farandole.ids import is_name
from farandole.transport.topology import Override

if TYPE_CHECKING:
    from farandole.client.planning import Deployment


@dataclass(frozen=True, slots=True)
class Named:
    """A loaded unit and its name (default: its folder's, DESIGN section 1)."""

    name: str
    path: Path
    unit: Unit

    @property
    def agents(self) -> tuple[str, ...]:
        """Names of its agents, sorted."""
        return tuple(sorted(self.unit.agents))

    @property
    def publishes(self) -> tuple[str, ...]:
        """Topics of the user's that its agents write to."""
        return tuple(sorted({topic for spec in self.unit.agents.values() for topic in spec.publishes}))

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Its pipelines, by name."""
        return tuple(self.unit.pipelines[name].definition for name in sorted(self.unit.pipelines))


def load(path: Path, name: str | None, way_out: str = "pass --unit NAME") -> Named:
    """Load the unit at a path; `way_out` is for a folder whose name is none.

    Raises:
        ConfigError: the path does not exist, or gives no usable name and none was given.
        DefinitionError: what it defines is wrong.
    """
    if not path.exists():
        raise ConfigError(f"{path}: expected a folder or file that defines agents and pipelines, but it does not exist")
    folder = path.resolve().parent if path.is_file() else path.resolve()
    chosen = name or folder.name
    if not is_name(chosen):
        raise ConfigError(f"{path}: expected a name of a-z 0-9 _ - for the unit, but found {chosen!r}; {way_out}")
    return Named(chosen, path.resolve(), load_unit(path))


def examined(path: Path, name: str | None) -> Named:
    """As `load`, for commands whose output others read: what the unit's code prints goes to standard error.

    Raises:
        ConfigError, DefinitionError: as `load`.
    """
    with prints_aside():
        return load(path, name)


def deployment_of(named: Named) -> "Deployment":
    """What the unit brings to `apply`, its schemas and our own included.

    Raises:
        DefinitionError: of two of its schemas, one is mistaken for the other.
    """
    from farandole.client.planning import Deployment

    schemas: dict[str, Schema] = {}
    for each in (*(schema_of(record) for record in ALL), *(Schema.parse(text) for text in schemas_of(named))):
        key = each.fingerprint.hex()
        if each.is_mistaken_for(schemas.get(key, each)):
            raise DefinitionError(mistaken(each), place=named.name)
        schemas[key] = each
    return Deployment(
        named.name,
        named.agents,
        named.publishes,
        named.definitions,
        {key: each.text for key, each in schemas.items()},
    )


def schemas_of(named: Named) -> list[str]:
    """Every schema that payloads of its pipelines, and records that its agents publish, are framed with."""
    published = [text for name in named.agents for text in named.unit.agents[name].published]
    return [*(text for each in named.definitions for text in _schemas(each)), *published]


def _schemas(definition: Definition) -> list[str]:
    steps = [text for step in definition.steps.values() for text in (step.input_schema, step.output_schema)]
    return [definition.params_schema, *([definition.output_schema] if definition.output_schema else []), *steps]


def overrides_of(settings: Settings, publishes: Sequence[str] = ()) -> tuple[Override, ...]:
    """What the folder of topic files says, if there is one; `publishes` are topics of the unit's own."""
    from farandole.client.topic_files import read_overrides

    return read_overrides(settings.topics, settings.namespace, publishes) if settings.topics.is_dir() else ()
