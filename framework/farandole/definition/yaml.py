"""The YAML front end: a file as a draft, and so as the same definition that a Python body gives.

Values are constants, except `"${…}"`, which is an expression as a whole value. Types come from the
agents' modules. Knows nothing of how modules are loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from farandole.definition.cel_text import literal_text
from farandole.definition.draft import Draft, Given, StepDraft
from farandole.definition.expressions import ExpressionError, compile_expression
from farandole.definition.options import StepOptions, duration_of, step_options
from farandole.definition.policy import Retry
from farandole.definition.shapes import MISSING
from farandole.definition.spec import AgentSpec, Parameter
from farandole.definition.strict_yaml import Mark, YamlNode, load_strict
from farandole.definition.type_names import type_of
from farandole.definition.types import is_optional
from farandole.errors import DefinitionError

PIPELINE_KEYS = (
    "pipeline",
    "owner",
    "description",
    "tags",
    "deadline",
    "hold_max",
    "stop_max",
    "agents",
    "params",
    "steps",
    "output",
)
STEP_KEYS = ("agent", "with", "when", "map", "as", "after", "join", "retry", "timeout", "deadline", "on_dead_letter")
RETRY_KEYS = ("attempts", "base", "cap", "total")
PARAM_KEYS = ("type", "default")


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file that is well-formed and has known keys; `agents` are paths relative to it."""

    file: str
    root: YamlNode
    agents: tuple[str, ...]


def read_yaml(content: bytes, file: str) -> YamlFile:
    """Read a file as far as its agents are not needed.

    Raises:
        DefinitionError: it is malformed, or has keys that nobody knows.
    """
    root = load_strict(content, file)
    it = _At(file, root, "the file")
    it.known(PIPELINE_KEYS)
    it.get("pipeline").text()
    given = it.get("agents")
    paths = [each.text() for each in given.list()] if isinstance(given.node.value, list) else [given.text()]
    return YamlFile(file, root, tuple(paths))


def draft_of(file: YamlFile, agents: Mapping[str, AgentSpec], names: Mapping[str, object]) -> Draft:
    """The draft of a file, given the agents of its modules and the names that these define.

    Raises:
        DefinitionError: a value is of another form than its key takes.
    """
    it = _At(file.file, file.root, "the file")
    name = it.get("pipeline").text()
    steps = it.get("steps")
    read = [
        _step(_At(file.file, node, f"{name}.{key}", steps.node.keys[key]), key, agents) for key, node in steps.map()
    ]
    output = it.find("output")
    return Draft(
        name=name,
        place=it.place,
        params=_params(it.find("params"), names),
        steps=read,
        output=None if output is None else Given(output.expression(), output.place),
        deadline=it.duration("deadline"),
        hold_max=it.duration("hold_max"),
        stop_max=it.duration("stop_max"),
        owner=_optional_text(it, "owner"),
        tags=tuple(each.text() for each in tags.list()) if (tags := it.find("tags")) else (),
        description=_optional_text(it, "description"),
    )


def _optional_text(it: "_At", key: str) -> str:
    found = it.find(key)
    return found.text() if found else ""


class _At:
    """A node with what to call it in errors."""

    def __init__(self, file: str, node: YamlNode, where: str, key: Mark | None = None) -> None:
        self.file = file
        self.node = node
        self.where = where
        mark = key or node.mark
        self.place = f"{file}:{mark.line}:{mark.column}"

    def problem(self, fact: str) -> DefinitionError:
        """An error at this node."""
        return DefinitionError(f"{self.where}: {fact}", place=self.place)

    def expected(self, what: str) -> DefinitionError:
        """An error that says what should stand here."""
        return self.problem(f"expected {what}, but found {_shown(self.node)}")

    def _mapping(self) -> Mapping[str, YamlNode]:
        if not isinstance(self.node.value, dict):
            raise self.expected("a mapping")
        return self.node.value

    def known(self, keys: tuple[str, ...]) -> None:
        """Refuse keys that are none of these, with the nearest that is."""
        for key in self._mapping():
            if key not in keys:
                near = get_close_matches(key, keys, n=1, cutoff=0.5)
                expected = f"the key {near[0]!r}" if near else f"one of the keys {', '.join(keys)}"
                raise _At(self.file, self.node, self.where, self.node.keys[key]).problem(
                    f"expected {expected}, but found {key!r}"
                )

    def find(self, key: str) -> "_At | None":
        """The value of a key, if it is there."""
        found = self._mapping().get(key)
        return None if found is None else _At(self.file, found, f"{self.where}.{key}", self.node.keys[key])

    def get(self, key: str) -> "_At":
        """The value of a key that must be there."""
        found = self.find(key)
        if found is None:
            raise self.problem(f"expected the key {key!r}, but found nothing")
        return found

    def map(self) -> list[tuple[str, YamlNode]]:
        """The entries of a mapping."""
        return list(self._mapping().items())

    def list(self) -> "list[_At]":
        """The items of a list."""
        if not isinstance(self.node.value, list):
            raise self.expected("a list")
        return [_At(self.file, each, f"{self.where}[{n}]") for n, each in enumerate(self.node.value)]

    def text(self) -> str:
        """A text."""
        if not isinstance(self.node.value, str):
            raise self.expected("a text (quote it)")
        return self.node.value

    def duration(self, key: str) -> timedelta | None:
        """The duration under a key."""
        found = self.find(key)
        if found is None:
            return None
        text = found.text()  # whose error has its place already
        try:
            return duration_of(key, text)
        except DefinitionError as bad:
            raise DefinitionError(f"{self.where}.{bad.message}", place=found.place) from None

    def expression(self) -> str:
        """A value as an expression: `${…}` is one, anything else a constant."""
        value = self.node.value
        match value:
            case str():
                return self._text_expression(value)
            case dict():
                entries = (
                    (literal_text(k), _At(self.file, v, f"{self.where}.{k}").expression()) for k, v in value.items()
                )
                return "{" + ", ".join(f"{key}: {text}" for key, text in entries) + "}"
            case list():
                return "[" + ", ".join(each.expression() for each in self.list()) + "]"
            case _:
                return literal_text(value)

    def condition(self) -> str:
        """An expression in `${…}` or bare."""
        text = self.text()
        return self._text_expression(text) if "${" in text else text

    def _text_expression(self, value: str) -> str:
        if value.startswith("${") and value.endswith("}") and _is_whole(value[2:-1]):
            return value[2:-1].strip()
        if "${" in value:
            raise self.problem(f"expected one expression as the whole value, but found {value!r}; build texts with +")
        return literal_text(value)


def _is_whole(text: str) -> bool:
    """Whether what stands between `${` and the last `}` is one expression, right or wrong, and not `a} and ${b`."""
    if "${" not in text:
        return True
    try:
        compile_expression(text.strip())
    except ExpressionError:
        return False
    return True


def _shown(node: YamlNode) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    return "a list" if isinstance(node.value, list) else repr(node.value)


def _params(it: _At | None, names: Mapping[str, object]) -> tuple[Parameter, ...]:
    if it is None:
        return ()
    return tuple(
        _param(_At(it.file, node, f"{it.where}.{key}", it.node.keys[key]), key, names) for key, node in it.map()
    )


def _param(it: _At, name: str, names: Mapping[str, object]) -> Parameter:
    named, default = it, None
    if isinstance(it.node.value, dict):
        it.known(PARAM_KEYS)
        named, default = it.get("type"), it.find("default")
    try:
        tp = type_of(named.text(), names)
    except DefinitionError as bad:
        raise named.problem(bad.message) from None
    return Parameter(
        name, tp, is_optional(tp), default is not None, MISSING if default is None else default.node.plain()
    )


def _step(it: _At, name: str, agents: Mapping[str, AgentSpec]) -> StepDraft:
    if it.node.value is None:
        it = _At(it.file, YamlNode({}, it.node.mark), it.where, Mark(*_line_column(it.place)))
    it.known(STEP_KEYS)
    spec = _agent(it, name, agents)
    over, alias = it.find("map"), it.find("as")
    if alias is not None and over is None:
        raise alias.problem("expected it beside `map` only")
    item_name = alias.text() if alias else "item"
    given = it.find("with")
    inputs = {} if given is None else {key: _input(given, key, node) for key, node in given.map()}
    if over is not None:
        _add_item(inputs, spec, item_name, over)
    when, after = it.find("when"), it.find("after")
    return StepDraft(
        name=name,
        spec=spec,
        inputs=inputs,
        place=it.place,
        when=Given(when.condition(), when.place) if when else None,
        over=Given(over.expression(), over.place) if over else None,
        item_name=item_name,
        after=() if after is None else _after(after),
        options=_options(it),
    )


def _line_column(place: str) -> tuple[int, int]:
    line, column = place.rsplit(":", 2)[1:]
    return int(line), int(column)


def _agent(it: _At, step: str, agents: Mapping[str, AgentSpec]) -> AgentSpec:
    named = it.find("agent")
    name = named.text() if named else step
    if name not in agents:
        near = get_close_matches(name, sorted(agents), n=1, cutoff=0.5)
        expected = f"the agent {near[0]!r}" if near else f"one of the agents {', '.join(sorted(agents)) or '(none)'}"
        raise (named or it).problem(f"expected {expected}, but found {name!r}")
    return agents[name]


def _input(given: _At, key: str, node: YamlNode) -> Given:
    at = _At(given.file, node, f"{given.where}.{key}", given.node.keys[key])
    return Given(at.expression(), at.place)


def _add_item(inputs: dict[str, Given], spec: AgentSpec, item_name: str, over: _At) -> None:
    """Unless `with` names it, the item goes to the parameter of its name, else to the first one that is free."""
    used = frozenset().union(*(_roots(each.text) for each in inputs.values()))
    free = [each.name for each in spec.parameters if each.name not in inputs]
    if item_name in used or (not free and "item" in used):
        return
    if not free:
        raise over.problem(f"expected a parameter of {spec.name} that takes the item, but found none")
    inputs[item_name if item_name in free else free[0]] = Given(item_name, over.place)


def _roots(text: str) -> frozenset[str]:
    try:
        return compile_expression(text).roots
    except ExpressionError:  # validation says so, with its place
        return frozenset()


def _after(it: _At) -> tuple[Given, ...]:
    each = it.list() if isinstance(it.node.value, list) else [it]
    return tuple(Given(one.text(), one.place) for one in each)


def _options(it: _At) -> StepOptions:
    given: dict[str, object] = {}
    for key in ("timeout", "deadline", "on_dead_letter"):
        if found := it.find(key):
            given[key] = found.text()
    if retry := it.find("retry"):
        given["retry"] = _retry(retry)
    if join := it.find("join"):
        given["join"] = _join(join)
    try:
        return step_options(**given)
    except DefinitionError as bad:
        key = bad.message.split(":", 1)[0]
        raise DefinitionError(f"{it.where}.{bad.message}", place=(it.find(key) or it).place) from None


def _retry(it: _At) -> Retry:
    it.known(RETRY_KEYS)
    try:
        return Retry(**{key: node.plain() for key, node in it.map()})  # type: ignore[arg-type]
    except DefinitionError as bad:
        raise it.problem(bad.message) from None


def _join(it: _At) -> str:
    if not isinstance(it.node.value, dict):
        return it.text()
    it.known(("n_of",))
    count = it.get("n_of")
    if type(count.node.value) is not int:
        raise count.expected("a number of steps")
    return f"n_of({count.node.value})" if count.node.value > 0 else f"n_of {count.node.value}"
