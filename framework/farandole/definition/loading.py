"""Loading a unit: the agents and pipelines of a folder, a module or a YAML file, by path.

A unit's folder goes on `sys.path`, so that its modules import each other by bare name, and after it the folder of the
project that it stands in, for what units share; both wherever one works, so that what `dev` loads every command loads.
A module is loaded once, however it is reached. No package of the name `agents` is ever imported.
"""

import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from farandole.definition.agents import Agent
from farandole.definition.pipelines import Pipeline
from farandole.definition.project import nearest_file
from farandole.definition.spec import AgentSpec
from farandole.errors import DefinitionError

_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Unit:
    """The agents that are deployed together, and the pipelines defined beside them, by name."""

    agents: Mapping[str, AgentSpec]
    pipelines: Mapping[str, Pipeline[..., object]]


def load_unit(path: Path | str) -> Unit:
    """Load a folder (its `.py` and YAML files, without those of its folders), one module, or one YAML file.

    Raises:
        DefinitionError: it is not there, cannot be loaded, or defines something wrongly.
    """
    root = Path(path).resolve()
    project = nearest_file(root)
    if project is not None and str(project.parent) not in sys.path:
        sys.path.insert(0, str(project.parent))
    found = _Found()
    if root.is_dir():
        for each in sorted(root.iterdir()):
            if _is_unit_file(each):
                found.add(each)
    elif root.is_file() and root.suffix in (".py", *_YAML):
        found.add(root)
    else:
        raise DefinitionError("expected a folder, a .py or a .yaml file, but found none", place=str(path))
    if not found.agents and not found.pipelines:
        raise DefinitionError(f"expected agents or pipelines, but found none{_below(root, path)}", place=str(path))
    _check_records(found)
    return Unit(dict(sorted(found.agents.items())), dict(sorted(found.pipelines.items())))


def _below(root: Path, path: Path | str) -> str:
    """What to name instead of a folder of units."""
    folders = [each for each in sorted(root.iterdir()) if each.is_dir()] if root.is_dir() else []
    units = [each.name for each in folders if any(_is_unit_file(file) for file in each.iterdir())]
    return f"; folders in it have files that may: {', '.join(str(Path(path, each)) for each in units)}" if units else ""


def _is_unit_file(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix in _YAML:
        return _is_pipeline(path)
    return path.suffix == ".py" and not path.name.startswith(("_", "test_")) and path.name != "conftest.py"


def _is_pipeline(path: Path) -> bool:
    """Whether a YAML file of a folder is meant as one of ours: others may lie beside it."""
    from farandole.definition.strict_yaml import BYTES_MAX

    with path.open("rb") as file:
        head = file.read(BYTES_MAX)  # what is larger may be anything
    return any(line.startswith((b"pipeline:", b"steps:")) for line in head.splitlines())


class _Found:
    def __init__(self) -> None:
        self.agents: dict[str, AgentSpec] = {}
        self.pipelines: dict[str, Pipeline[..., object]] = {}

    def add(self, path: Path) -> None:
        """What one file defines."""
        if path.suffix == ".py":
            self._add_module(load_module(path))
            return
        pipeline, modules = load_yaml(path)
        for module in modules:
            self._add_module(module)
        self._add_pipeline(pipeline)

    def _add_module(self, module: ModuleType) -> None:
        for spec in agents_of(module).values():
            other = self.agents.setdefault(spec.name, spec)
            if other is not spec:
                fact = f"agent {spec.name}: expected one of this name in a unit, but found another at {other.place}"
                raise DefinitionError(fact, place=spec.place)
        for each in vars(module).values():
            if isinstance(each, Pipeline):
                self._add_pipeline(each)

    def _add_pipeline(self, pipeline: Pipeline[..., object]) -> None:
        for spec in pipeline.agents.values():
            self.agents.setdefault(spec.name, spec)
        other = self.pipelines.setdefault(pipeline.name, pipeline)
        if other.definition.hash != pipeline.definition.hash:
            fact = f"pipeline {pipeline.name}: expected one of this name in a unit, but another one is at {other.place}"
            raise DefinitionError(fact, place=pipeline.place)


def _check_records(found: _Found) -> None:
    """Refuse what differs by - and _ alone, and whose parameters differ: `-` is no letter of Avro's names.

    So the records of both have one name, which stands for one type wherever schemas are looked up by name.
    """
    inputs = [("agent", "input", s.name, s.input_schema, s.place) for s in found.agents.values() if not s.whole]
    params = [("pipeline", "params", p.name, p.definition.params_schema, p.place) for p in found.pipelines.values()]
    seen: dict[str, tuple[str, str, str]] = {}
    for kind, suffix, name, schema, place in (*inputs, *params):
        record = f"{name.replace('-', '_')}_{suffix}"
        other, text, where = seen.setdefault(record, (name, schema, place))
        if text != schema:
            fact = (
                f"{kind} {name}: expected a name that differs from those of others by more than - and _, but found "
                f"{other} at {where}, and the records of their parameters both have the name {record}. Rename one"
            )
            raise DefinitionError(fact, place=place)


def agents_of(module: ModuleType) -> dict[str, AgentSpec]:
    """The agents that a module names, its own and those it imports."""
    found: dict[str, AgentSpec] = {}
    for each in vars(module).values():
        if isinstance(each, Agent):
            other = found.setdefault(each.spec.name, each.spec)
            if other is not each.spec:
                fact = f"agent {each.spec.name}: expected one of this name, but found another at {other.place}"
                raise DefinitionError(fact, place=each.spec.place)
    return found


def load_yaml(path: Path) -> tuple[Pipeline[..., object], list[ModuleType]]:
    """The pipeline of a YAML file, and the modules of its agents.

    Raises:
        DefinitionError: the file, a module or the pipeline is wrong.
    """
    # With PyYAML, for units that have such a file.
    from farandole.definition.strict_yaml import read_file
    from farandole.definition.yaml import draft_of, read_yaml

    file = read_yaml(read_file(path), str(path))
    modules = [_agents_module(path, each) for each in file.agents]
    agents: dict[str, AgentSpec] = {}
    names: dict[str, object] = {}
    for module in modules:
        agents |= agents_of(module)
        names |= vars(module)
    draft = draft_of(file, agents, names)
    only = next((each for each in draft.steps if draft.output and each.name == draft.output.text), None)
    result: object = None
    if only is not None:
        result = only.spec.result if only.over is None else list[only.spec.result]  # type: ignore[name-defined]
    try:
        return Pipeline[..., object](draft, result), modules
    except DefinitionError as bad:
        raise bad if bad.place else DefinitionError(bad.message, place=draft.place) from None


def _agents_module(path: Path, agents: str) -> ModuleType:
    target = (path.parent / agents).resolve()
    if target.suffix != ".py" or not target.is_file():
        is_absent = target.suffix == ".py" and not target.exists()
        fact = f"{agents!r}, and there is no {target}" if is_absent else repr(agents)
        raise DefinitionError(f"agents: expected the path of a .py file, but found {fact}", place=str(path))
    return load_module(target)


def load_module(path: Path) -> ModuleType:
    """The module of a file, loaded once and found by its neighbours under its bare name.

    Raises:
        DefinitionError: it raises when it is loaded.
    """
    path = path.resolve()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is not None and file == str(path):
            return module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        del sys.modules[name]
        raise
    except DefinitionError as bad:
        del sys.modules[name]
        if bad.place:
            raise
        raise DefinitionError(bad.message, place=_place_in(path, bad)) from bad
    except BaseException as broken:  # `sys.exit()` among them: the command would end with its code, in silence
        del sys.modules[name]
        raise DefinitionError(
            f"expected a module that can be loaded, but it raised {_told(broken)}", place=_place_in(path, broken)
        ) from broken
    return module


def _module_name(path: Path) -> str:
    """Its bare name, unless that is taken; a file `agents.py` never becomes a package of the name `agents`."""
    stem = path.stem
    taken = stem in sys.modules or stem in sys.stdlib_module_names or stem == "agents"
    if not taken:
        return stem
    return f"farandole_unit_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{stem}"


def _told(broken: BaseException) -> str:
    said = f"{type(broken).__name__}: {broken}"
    if isinstance(broken, SystemExit):
        return f'{said}. What a script alone does belongs under `if __name__ == "__main__":`'
    return said


def _place_in(path: Path, error: BaseException) -> str:
    """The last line of the user's own files that the error came through, or the one that cannot be parsed.

    A helper that raises while it is imported is to blame, not the file that imports it.
    """
    if isinstance(error, SyntaxError) and error.lineno is not None and _is_own(error.filename or "<", path):
        return f"{error.filename}:{error.lineno}"
    place, trace = f"{path}:1", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if _is_own(file, path):
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _is_own(file: str, unit: Path) -> bool:
    """Whether a file is the user's: none of ours, of the interpreter, or of what pip installs."""
    if file == str(unit):
        return True
    is_library = file.startswith((_OURS, *_STDLIB)) or not _INSTALLED.isdisjoint(Path(file).parts)
    return not is_library and not file.startswith("<")


_OURS = str(Path(__file__).parents[1])
_STDLIB = tuple(sysconfig.get_path(each) for each in ("stdlib", "platstdlib"))
_INSTALLED = frozenset(("site-packages", "dist-packages"))
