"""Params drawn from a schema, for a pipeline whose author has not said what its runs look like.

Valid by type and nothing more: a handler may well refuse them. Small values, so that they
collide now and then.
"""

import json
import random
import uuid
from collections.abc import Iterator, Mapping

from farandole.events.avro import Schema

WORDS = ("ada", "bob", "eve", "x", "")
DAYS_MAX = 20_000
MICROS_MAX = 1_800_000_000_000_000


def params_of(schema: str, rng: random.Random) -> object:
    """A plain value of an Avro schema (JSON text)."""
    tree = json.loads(schema)
    return _value(tree, rng, dict(_named(tree)))


def _named(schema: object) -> Iterator[tuple[str, object]]:
    """Types that have a name, which stands for them after their first use."""
    match schema:
        case list():
            for each in schema:
                yield from _named(each)
        case dict():
            if isinstance(name := schema.get("name"), str) and schema["type"] in ("record", "enum", "fixed"):
                yield name, schema
            for each in schema.values():
                yield from _named(each)
        case _:
            pass


def _value(schema: object, rng: random.Random, named: Mapping[str, object]) -> object:
    match schema:
        case list():
            return _value(rng.choice(schema), rng, named)
        case {"type": "record", "fields": fields}:
            return {field["name"]: _value(field["type"], rng, named) for field in fields}
        case {"type": "enum", "symbols": symbols}:
            return rng.choice(symbols)
        case {"type": "array", "items": items}:
            return [_value(items, rng, named) for _ in range(rng.randint(0, 3))]
        case {"type": "map", "values": values}:
            return {rng.choice(WORDS): _value(values, rng, named) for _ in range(rng.randint(0, 2))}
        case {"type": "fixed", "size": size}:
            return rng.randbytes(int(size))
        case {"type": kind, "logicalType": str()}:
            return _logical(schema, str(kind), rng)
        case {"type": kind}:
            return _value(kind, rng, named)
        case str() if schema in named:
            return _value(named[schema], rng, named)
        case str():
            return _primitive(schema, rng)
        case _:
            raise TypeError(f"expected an Avro schema, but found {schema!r}")


def _logical(schema: object, kind: str, rng: random.Random) -> object:
    """Drawn as what it stands for in bytes, and read as what it means."""
    raw: object
    match kind:
        case "string":
            raw = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        case "int":
            raw = rng.randrange(DAYS_MAX)
        case "long":
            raw = rng.randrange(MICROS_MAX)
        case _:
            raw = rng.randrange(1000).to_bytes(2, "big")
    return Schema.parse(json.dumps(schema)).decode_body(Schema.parse(json.dumps(kind)).encode_body(raw))


def _primitive(kind: str, rng: random.Random) -> object:
    match kind:
        case "null":
            return None
        case "boolean":
            return rng.random() < 0.5
        case "int" | "long":
            return rng.choice((0, 1, 2, rng.randint(-5, 1000)))
        case "float" | "double":
            return rng.choice((0.0, 1.0, rng.randint(-50, 10_000) / 4))
        case "string":
            return rng.choice(WORDS)
        case "bytes":
            return rng.randbytes(rng.randint(0, 4))
        case _:
            raise TypeError(f"expected a primitive Avro type, but found {kind!r}")
