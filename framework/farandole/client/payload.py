"""Payloads as a caller sees them: framed Avro to plain values and Python types, claims fetched.

Which schema a payload has is known from the definition its run is pinned to, never guessed
from the bytes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from farandole.artifacts import ArtifactStore, check_out
from farandole.client.following import Ending
from farandole.client.session import Session
from farandole.definition.model import Definition, Step
from farandole.definition.types import from_plain
from farandole.errors import ClaimBroken, RecordError, RunNotFound
from farandole.events.avro import Schema, SchemaBook
from farandole.events.claims import is_claim
from farandole.ids import is_text


def plain_of(schema: str, framed: bytes, artifacts: ArtifactStore | None) -> object:
    """The plain value of a payload written with `schema` (Avro, JSON text), or in JSON by somebody who repaired it.

    Raises:
        RecordError: it is not what the schema says, or its claim cannot be fetched.
    """
    if is_claim(framed) is not None:
        if artifacts is None:
            raise ClaimBroken(
                "expected an artifact store, because this payload is too large to travel, but this client has none. "
                "Give it the store that the agents use: Client(..., artifacts=...)."
            )
        framed = check_out(artifacts, framed)
    return Schema.parse(schema).decode_or_json(framed)


async def definition_of(session: Session, digest: str, hint: Definition | None = None) -> Definition:
    """The definition that a run is pinned to; `hint` spares the look-up where it is the one.

    Raises:
        RunNotFound: it was never published, or the run names none.
    """
    if hint is not None and (not digest or hint.hash == digest):
        return hint
    found = await session.book.by_hash(digest) if digest else None
    if found is None:
        raise RunNotFound(
            f"definition {digest[:12] or '(none)'}: expected it on {session.topics.definitions}, not found"
        )
    return found


async def result_of(session: Session, ending: Ending, hint: Definition | None, returns: object) -> object:
    """The result of an ended run as the Python type `returns`; as a plain value where that is None."""
    if ending.output is None:
        return None
    definition = await definition_of(session, ending.definition, hint)
    if definition.output_schema is None:
        return None
    if is_claim(ending.output) is None:
        plain = plain_of(definition.output_schema, ending.output, session.artifacts)
    else:  # a store may take its time, and is asked by plain functions
        plain = await asyncio.to_thread(plain_of, definition.output_schema, ending.output, session.artifacts)
    return plain if returns is None else from_plain(plain, returns, what="result")


def only_params(
    pipeline: str, args: Sequence[object], named: Mapping[str, object]
) -> Mapping[str, object] | str | bytes:
    """The `params` of a start by name.

    Raises:
        TypeError: there are other arguments: which parameter they are meant for only a `Pipeline` tells.
    """
    params = named.get("params", b"{}")
    if not args and named.keys() <= {"params"} and isinstance(params, Mapping | str | bytes):
        return params
    told = ", ".join([*["a positional one"] * bool(args), *(f"{name}=" for name in named)])
    if not isinstance(params, Mapping | str | bytes):
        told += f" (of type {type(params).__name__})"
    raise TypeError(
        f"{pipeline}: a pipeline by name is started with params={{...}} or JSON text, but the arguments are {told}; "
        "to give them as to a function, start the Pipeline itself"
    )


def framed_params(definition: Definition, params: Mapping[str, object] | str | bytes) -> bytes:
    """Params of a start as the definition's own schema frames them: equal params are equal bytes.

    Raises:
        RecordError: they do not fit.
    """
    return _framed(definition.params_schema, params)


async def params_by_name(session: Session, definition: Definition, params: Mapping[str, object] | str | bytes) -> bytes:
    """Params of a start by name, as `framed_params`; if they do not fit, by what the pipeline has now or had before.

    Who starts runs may be replaced after the pipeline was: a param that is gone since is ignored. What is left out has
    the default of the version that framed it, as for a caller who has its `Pipeline`.

    Raises:
        RecordError: they fit none, or not what the pipeline is now.
    """
    try:
        return framed_params(definition, params)
    except RecordError:
        every = (await session.book.every()).values()
        now = await session.book.by_name(definition.name)  # as of this moment; what we were given may be older
        before = [it for it in every if it.name == now.name and it.params_schema != now.params_schema]
        for each in (now, *before):
            with suppress(RecordError):
                framed = framed_params(each, params)
                as_now(each, framed, now)  # refused here, where somebody is told
                return framed  # the coordinator knows every schema that the params had
        raise


def as_now(before: Definition, framed: bytes, now: Definition) -> bytes:
    """Params that the definition before has framed, as the present one has them.

    Raises:
        RecordError: they do not fit it.
    """
    schema = Schema.parse(now.params_schema)
    return schema.encode(SchemaBook([Schema.parse(before.params_schema)]).decode_as(schema, framed))


def framed_input(step: Step, value: object) -> bytes:
    """A repaired input as the step's schema frames it: the plain inbox value, or JSON text of it.

    Raises:
        RecordError: it does not fit.
    """
    return _framed(step.input_schema, value)


def _framed(text: str, value: object) -> bytes:
    schema = Schema.parse(text)
    if isinstance(value, str) and not is_text(value):
        raise RecordError("expected JSON in UTF-8, but a lone surrogate stands in it")
    if isinstance(value, str | bytes):
        value = schema.from_json(value.encode() if isinstance(value, str) else value)
    return schema.encode(value)
