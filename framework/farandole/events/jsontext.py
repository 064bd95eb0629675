"""JSON as we accept it from strangers: strict, bounded, and every doubt refused.

No duplicate keys, no NaN or Infinity, no lone surrogates, no byte order mark, UTF-8 only.
Numbers with a fraction or an exponent come as `Decimal`, so that nothing is lost before
the schema has said what they are. Knows nothing of schemas or commands.
"""

import json
from decimal import Decimal
from typing import NoReturn

from farandole.errors import RecordError

JSON_BYTES_MAX = 1_048_576
"""Largest JSON text accepted, bytes. Source: Kafka's default `max.message.bytes` (1 MiB)."""

JSON_DEPTH_MAX = 64
"""Deepest nesting accepted: twice what an admitted schema can describe (admission.DEPTH_MAX)."""


def parse_json(text: bytes, *, bytes_max: int = JSON_BYTES_MAX, depth_max: int = JSON_DEPTH_MAX) -> object:
    """The value of a JSON text: None, bool, int, Decimal, str, list or dict.

    Raises:
        RecordError: it is not strict JSON, or larger or deeper than allowed.
    """
    if len(text) > bytes_max:
        raise RecordError(f"expected at most {bytes_max} bytes of JSON, but found {len(text)}")
    try:
        decoded = text.decode()
        value: object = json.loads(decoded, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
    except RecursionError:
        raise RecordError(f"expected JSON nested at most {depth_max} deep, but it is far deeper") from None
    except UnicodeDecodeError as bad:
        raise RecordError(f"expected JSON in UTF-8, but byte {bad.start} is not ({bad.reason})") from None
    except ValueError as bad:
        raise RecordError(f"expected JSON, but {bad}") from None
    _check(value, depth_max, escapes="\\u" in decoded)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice in one object")
    return found


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond what Decimal holds
        raise ValueError(f"the number {text[:60]} is out of range") from None


def _check(value: object, depth_max: int, *, escapes: bool) -> None:
    """Depth, and escapes that spell half a character (they could never be encoded again)."""
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > depth_max:
            raise RecordError(f"expected JSON nested at most {depth_max} deep, but it is deeper")
        if isinstance(node, dict):
            pending.extend((child, depth + 1) for child in node.values())
            if escapes:
                pending.extend((key, depth + 1) for key in node)
        elif isinstance(node, list):
            pending.extend((child, depth + 1) for child in node)
        elif escapes and isinstance(node, str):
            _check_text(node)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as bad:
        raise RecordError(f"expected JSON, but a string holds a lone surrogate at character {bad.start}") from None
