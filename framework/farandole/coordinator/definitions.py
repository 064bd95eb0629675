"""The `definitions` topic as the coordinator uses it (R13).

Rows by key: a hash gives a compiled pipeline, `pipeline:<name>` the hash that new runs are
pinned to, `inbox:<agent>` the unit that consumes the inbox. Read to its end before the first
record is folded, and again before a name, or the schema of some params, is refused as unknown.
"""

import logging
from collections.abc import Callable

from farandole.coordinator.patience import RETRY_S
from farandole.definition.graph import Graph, graph_of
from farandole.definition.model import Definition
from farandole.definition.published import read_published
from farandole.errors import InvariantViolation
from farandole.events.avro import Schema, SchemaBook
from farandole.events.facts import DEFINITION_GONE
from farandole.events.topics import Topics
from farandole.kernel.admission import NO_OTHERS
from farandole.kernel.state import Run
from farandole.transport.port import Isolation, ReadEnds, Record, Reply, Request, TopicPartition, Transport
from farandole.transport.tables import Follower, Table

Ask = Callable[[Request, Callable[[Reply], None]], None]
log = logging.getLogger("farandole.coordinator")

Row = Definition | str


NO_GRAPH = Graph(Definition("", "{}", {}))
"""Of a run whose definition is gone: it can be kept, held and ended, but nothing of it can be folded."""


class DefinitionGone(InvariantViolation):
    """A run is pinned to a definition that `definitions` does not hold (any more): the others know nothing of it."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"definition {digest} is pinned by a run, but `definitions` does not hold it")
        self.digest = digest


def is_held_for_definition(run: Run) -> bool:
    """Whether a run was held because its definition was gone, by whatever coordinator."""
    return run.head.kernel_error.startswith(DEFINITION_GONE)


class DefinitionTable:
    """Definitions by hash and by name; `ask` reaches the member's requests."""

    def __init__(self, transport: Transport, topics: Topics, client_id: str, ask: Ask) -> None:
        self._table: Table[Row] = Table(topics.definitions, 1, _read)
        self._follower = Follower(transport.reader(f"{client_id}.definitions"), [self._table])
        self._ask = ask
        self._ends: dict[TopicPartition, int] | None = None
        self._asked = False
        self._now = 0.0
        self._not_before = 0.0
        self._was_ready = False
        self._writers: dict[str, SchemaBook] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it has been read to its end since the process began."""
        return self._was_ready

    @property
    def is_fresh(self) -> bool:
        """Whether it has been read to the end that stood when `refresh` was last called."""
        return self._ends is not None and self._follower.has_reached(self._ends)

    def refresh(self) -> None:
        """Ask where the end is now; `is_fresh` tells when it has been reached."""
        self._ends = None
        if self._asked:
            return
        self._asked = True

        def answered(reply: Reply) -> None:
            self._asked = False
            if reply.error is None:
                self._ends = dict(reply.ends)
            else:
                self._not_before = self._now + RETRY_S

        self._ask(ReadEnds(self._table.places, Isolation.UNCOMMITTED), answered)

    @property
    def next_due(self) -> float | None:
        """When its end is asked for again that nobody told, on the monotonic clock; None if it need not be."""
        return self._not_before if self._ends is None and not self._asked else None

    def step(self, now: float) -> bool:
        """Take in what has come; whether anything did."""
        self._now = now
        if (due := self.next_due) is not None and due <= now:
            self.refresh()
        took = self._follower.follow() > 0
        if took:
            self._writers = None
        for trouble in self._follower.troubles:
            if isinstance(trouble, str):
                log.warning("a row of definitions was left out: %s", trouble)
            elif trouble.kind != "unreachable":  # that the log is away, the member's own polls tell
                log.error("definitions do not deliver: %s (%s)", trouble.error, trouble.kind)
        self._follower.troubles.clear()
        self._was_ready = self._was_ready or self.is_fresh
        return took

    def by_hash(self, digest: str) -> Definition | None:
        """The definition of that hash."""
        row = self._table.rows.get(digest)
        return row if isinstance(row, Definition) else None

    def graph(self, digest: str) -> Graph:
        """The graph of a definition that a run is pinned to.

        Raises:
            DefinitionGone: it is not there.
        """
        definition = self.by_hash(digest)
        if definition is None:
            raise DefinitionGone(digest)
        return graph_of(definition)

    def has_read(self, end: int) -> bool:
        """Whether everything before this offset was taken in."""
        return self._follower.has_reached(dict.fromkeys(self._table.places, end))

    def current(self, name: str) -> Definition | None:
        """The definition that new runs of a pipeline are pinned to."""
        digest = self._table.rows.get(f"pipeline:{name}")
        return self.by_hash(digest) if isinstance(digest, str) else None

    def applied(self) -> list[Definition]:
        """What new runs are pinned to, of every pipeline; may be called from another thread."""
        keys = self._table.rows.copy()
        names = [key.removeprefix("pipeline:") for key in keys if key.startswith("pipeline:")]
        return [it for name in names if (it := self.current(name)) is not None]

    def writers(self, name: str) -> SchemaBook:
        """The schemas that the params of a pipeline have, and had, under any definition that the topic holds."""
        if self._writers is None:
            self._writers = {}
            for row in self._table.rows.values():
                if isinstance(row, Definition):
                    self._writers.setdefault(row.name, SchemaBook()).add(Schema.parse(row.params_schema))
        return self._writers.get(name, NO_OTHERS)

    def unit_of(self, agent: str) -> str | None:
        """The unit that consumes an agent's inbox."""
        row = self._table.rows.get(f"inbox:{agent}")
        return row if isinstance(row, str) else None

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()


def _read(record: Record) -> Row:
    """A row: a compiled pipeline where the key is a hash, else the name that the row points to.

    Raises:
        DefinitionError: the compiled pipeline is malformed, of another version, or not what its hash says.
    """
    key, value = (record.key or b"").decode(errors="replace"), record.value or b""
    return value.decode(errors="replace") if ":" in key else read_published(key, value)
