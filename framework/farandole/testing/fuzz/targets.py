"""Where bytes of strangers come in: each target takes bytes, and raises nothing but errors of ours.

Also those that do not raise at all are here, for what escapes from them is the same defect.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from farandole.definition.expressions import Expression
from farandole.definition.loading import load_module
from farandole.definition.model import parse_definition
from farandole.definition.pipelines import Pipeline
from farandole.definition.yaml import draft_of, read_yaml
from farandole.errors import MetadataUnreadable
from farandole.events.avro import Schema, SchemaBook
from farandole.events.catalogue import decode, decode_command
from farandole.events.envelope import parse_envelope
from farandole.events.framing import unframe
from farandole.ids import generated_at, is_name, is_run_id, partition_of
from farandole.testing.fuzz.files import log_file
from farandole.testing.fuzz.partition import push
from farandole.transport import metadata

PAYLOADS = (
    '{"type":"record","name":"Flat","fields":[{"name":"n","type":"long"},{"name":"s","type":"string"},'
    '{"name":"d","type":"double"},{"name":"b","type":"bytes"}]}',
    '{"type":"record","name":"Deep","fields":[{"name":"rows","type":{"type":"array","items":{"type":"map",'
    '"values":{"type":"array","items":["null","string"]}}}}]}',
    '{"type":"record","name":"Choice","fields":[{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},'
    '{"name":"f","type":{"type":"fixed","name":"F","size":5}},{"name":"u","type":["null","boolean","F","E"]}]}',
    '{"type":"record","name":"Times","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},'
    '{"name":"on","type":{"type":"int","logicalType":"date"}},{"name":"id","type":{"type":"string",'
    '"logicalType":"uuid"}},{"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}',
)
"""Schemas of a user's payloads: every kind of type between them."""

ENVIRONMENT = {
    "a": {"n": 3, "x": 1.5, "items": [1, 2, 3], "name": "ada", "none": None},
    "b": [{"n": n, "tags": ["x", "y"]} for n in range(50)],
    "params": {"n": 7, "text": "o" * 200},
    "run": {"id": "r-1"},
    "item": {"n": 1},
}
"""What an expression finds when it is evaluated."""

AGENTS = """
from dataclasses import dataclass
from farandole import agent

@dataclass(frozen=True)
class Order:
    total: int
    tags: list[str]

@agent
def check(order: Order) -> Order:
    return order

@agent
def label(order: Order, extra: str | None = None) -> str:
    return "x"
"""
"""What pipelines in YAML can name."""


def value(case: bytes) -> None:
    """A payload of a user's: the first byte chooses its schema."""
    book = _book()
    schemas = list(book)
    book.decode_as(schemas[case[0] % len(schemas)] if case else schemas[0], case[1:])


def ours(case: bytes) -> None:
    """A record of our own."""
    decode(case, _book())


def framing(case: bytes) -> None:
    """The first bytes of any value."""
    unframe(case)


def headers(case: bytes) -> None:
    """The headers of any record."""
    parse_envelope(_headers(json.loads(case)))


def command(case: bytes) -> None:
    """A record of `commands`: a line of JSON headers, then the value."""
    first, _, rest = case.partition(b"\n")
    decode_command(rest, _headers(json.loads(first)))


def commit(case: bytes) -> None:
    """Metadata beside a position; what is read must say the same when it is written again."""
    text = case.decode("latin-1")
    try:
        found = metadata.decode(text)
    except MetadataUnreadable:
        return
    assert metadata.decode(metadata.encode(found)) == found, found


def schema(case: bytes) -> None:
    """The text of a schema from a stranger, then values for it."""
    first, _, rest = case.partition(b"\n")
    known = Schema.parse(first.decode(errors="replace"))
    SchemaBook([known]).decode_as(known, rest)


def definition(case: bytes) -> None:
    """A compiled pipeline from the topic."""
    parse_definition(case)


def yaml(case: bytes) -> None:
    """A pipeline file."""
    file = read_yaml(case, "pipeline.yaml")
    agents, names = _agents()
    Pipeline[..., object](draft_of(file, agents, names), None)  # type: ignore[arg-type]


def cel(case: bytes) -> None:
    """An expression: read, written, compiled, evaluated."""
    expression = Expression(case.decode(errors="replace"))
    _ = expression.canonical
    expression.check_compiles()
    expression.evaluate(ENVIRONMENT)


def name(case: bytes) -> None:
    """A name: one that is taken is safe in a topic, a path and a label."""
    text = case.decode(errors="surrogateescape")
    generated_at(text)
    partition_of(case, 12)
    for taken in (is_name(text), is_run_id(text)):
        unsafe = set(text) & set("/\\#\"'<>&;$`|*?%\0 \n\r\t") or text in ("", ".", "..") or len(text) > 128
        assert not (taken and unsafe), text
        assert not taken or text.isascii(), text


def topic_file(case: bytes) -> None:
    """A file of `topics/`."""
    from farandole.client.topic_files import read_overrides

    read_overrides(written("one.yaml", case).parent, "farandole")


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        value, ours, framing, headers, command, commit, schema, definition, yaml, cel, name, topic_file, push, log_file,
    )
}  # fmt: skip
"""By name, as the sandbox asks for them."""


@cache
def _book() -> SchemaBook:
    return SchemaBook([Schema.parse(text) for text in PAYLOADS])


def _headers(given: object) -> Sequence[tuple[str, bytes]]:
    assert isinstance(given, list)
    return [(str(key), str(text).encode("latin-1", errors="replace")) for key, text in given]


@cache
def _agents() -> tuple[dict[str, object], dict[str, object]]:
    from farandole.definition.loading import agents_of

    module = load_module(written("fuzzed_agents.py", AGENTS.encode()))
    return dict(agents_of(module)), dict(vars(module))


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="farandole-fuzz-")


def written(name: str, content: bytes) -> Path:
    """A file with that content, in a folder of its own."""
    folder = Path(_folder().name) / name.partition(".")[0]
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name
