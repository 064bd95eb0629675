"""Values of steps and params as expressions see them, decoded once per batch.

Payloads above the inline limit are claims: the shell must have fetched them. `ClaimNeeded`
says which one is missing; because everything here is pure, the shell fetches it and asks
again. What the kernel itself makes too large is set aside in `to_store`, for the shell to
store before the transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from farandole.definition.expressions import compile_expression
from farandole.definition.inputs import items as evaluate_items
from farandole.definition.model import Step
from farandole.events.avro import Schema
from farandole.events.catalogue import encode
from farandole.events.claims import is_claim
from farandole.events.tables import Claim
from farandole.ids import NO_ITEM, sha256
from farandole.kernel.state import Run, Status

INLINE_MAX = 262_144
"""Largest payload inside a record, bytes. Source: DESIGN section 4; a quarter of Kafka's default max.message.bytes."""


class ClaimNeeded(Exception):  # noqa: N818 - a request to the shell, not an error
    """A decision needs a payload that is in the artifact store."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim.sha256)
        self.claim = claim


@dataclass(slots=True)
class Values:
    """Decoded payloads of one batch; `fetched` holds what claims stand for, by hash."""

    fetched: dict[str, bytes] = field(default_factory=dict)
    to_store: dict[str, bytes] = field(default_factory=dict)
    _decoded: dict[tuple[str, bytes], object] = field(default_factory=dict)
    _items: dict[tuple[str, str], Sequence[object]] = field(default_factory=dict)

    def decode(self, schema: str, framed: bytes) -> object:
        """The plain value of a framed payload written with `schema`.

        Raises:
            ClaimNeeded: it is a claim that has not been fetched.
            RecordError: it is not what the schema says.
        """
        key = (schema, framed)
        if key not in self._decoded:
            claim = is_claim(framed)
            if claim is not None and claim.sha256 not in self.fetched:
                raise ClaimNeeded(claim)
            body = framed if claim is None else self.fetched[claim.sha256]
            self._decoded[key] = Schema.parse(schema).decode(body)
        return self._decoded[key]

    def encode(self, schema: str, plain: object) -> bytes:
        """A framed payload; a claim, with the payload set aside in `to_store`, if it is above the inline limit."""
        framed = Schema.parse(schema).encode(plain)
        if len(framed) <= INLINE_MAX:
            return framed
        name = sha256(framed)
        self.to_store[name] = framed
        return encode(Claim(name, len(framed)))

    def env(self, run: Run, roots: frozenset[str]) -> dict[str, object]:
        """What an expression that mentions `roots` may read of `run`; a skipped or unfinished step is None."""
        return {root: self._root(run, root) for root in roots}

    def item_env(self, run: Run, step: Step, item: int, roots: frozenset[str]) -> dict[str, object]:
        """As `env`, with the item's own value where the step is mapped."""
        env = self.env(run, roots - {step.item_name} if item != NO_ITEM else roots)
        if item != NO_ITEM:
            env[step.item_name] = self._element(run, step, item)
        return env

    def items(self, run: Run, step: Step) -> Sequence[object]:
        """The list over which a mapped step runs, evaluated once per batch."""
        key = (run.id, step.name)
        if key not in self._items:
            self._items[key] = evaluate_items(step, self.env(run, roots_of(step.map_over)))
        return self._items[key]

    def _element(self, run: Run, step: Step, item: int) -> object:
        above = run.graph.items_of(step)
        if above is None:
            return self.items(run, step)[item]
        unit = run.unit(run.number(above, item))
        return self.decode(run.graph.step(above).output_schema, unit.output or b"")

    def _root(self, run: Run, root: str) -> object:
        definition = run.graph.definition
        if root == "params":
            return self.decode(definition.params_schema, run.params)
        if root == "run":
            return {"id": run.id, "pipeline": run.head.pipeline}
        if root not in run.graph.number:
            return None
        step, unit = run.graph.step(root), run.step(root)
        if unit.status is not Status.SUCCEEDED:
            return None
        if step.is_mapped:
            won = [item for _, item in run.items(root) if item.status is Status.SUCCEEDED]
            return [self.decode(step.output_schema, item.output or b"") for item in won]
        return self.decode(step.output_schema, unit.output or b"")


def roots_of(*expressions: str | None) -> frozenset[str]:
    """The free names of some expressions; absent ones have none."""
    return frozenset().union(*(compile_expression(text).roots for text in expressions if text))


def input_roots(step: Step) -> frozenset[str]:
    """The free names of a step's inputs."""
    return roots_of(*(given.expression for given in step.inputs.values()))


def carried(values: Values, run: Run) -> Mapping[str, object]:
    """The projection of the params that agent-fired steps read."""
    names = run.graph.carried_params
    if not names:
        return {}
    params = values.decode(run.graph.definition.params_schema, run.params)
    assert isinstance(params, dict)
    return {name: params[name] for name in names}
