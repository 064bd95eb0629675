"""What an agent process knows of `definitions` and `control`, and what waits to know more (R13).

Both are read to their end before the first record is taken, and followed. A record of an
unknown definition waits until `definitions` was read to the end that stood after it arrived.
"""

from collections.abc import Callable, Iterable, Mapping

from farandole.definition.model import Definition
from farandole.definition.published import read_published
from farandole.errors import ConfigError, RecordError
from farandole.events.catalogue import decode
from farandole.events.tables import RunControl
from farandole.events.topics import Topics
from farandole.runtime.attempts import Arrival
from farandole.runtime.ownership import Ask
from farandole.runtime.recording import Troubles
from farandole.transport.port import Isolation, ReadEnds, Reader, Record, Reply, TopicPartition
from farandole.transport.tables import Follower, Table

INBOX_PREFIX = "inbox:"
"""Keys of `definitions` that say which unit an inbox belongs to (R8)."""

RUN_PREFIX = "run:"
"""Keys of `control` that speak of a run."""

STOPPING = "stopping"


class AgentTables:
    """Both tables through one reader; `partitions` says how many each topic has."""

    def __init__(
        self,
        reader: Reader,
        topics: Topics,
        partitions: Mapping[str, int],
        ask: Ask,
        troubles: Troubles,
        now: Callable[[], float],
    ) -> None:
        self._definitions: Table[Definition | str] = Table(
            topics.definitions, partitions[topics.definitions], _read_definition
        )
        self._control: Table[RunControl] = Table(topics.control, partitions[topics.control], _read_control)
        self._follower = Follower(reader, [self._definitions, self._control])
        self._ask = ask
        self._troubles = troubles
        self._now = now
        self._wanting: list[Arrival] = []
        """Arrived since the end of `definitions` was last asked for."""
        self._waiting: list[Arrival] = []
        """Wait until `_ends` are reached."""
        self._ends: Mapping[TopicPartition, int] | None = None
        self._is_asking = False

    @property
    def is_ready(self) -> bool:
        """Whether both have been read to their end once."""
        return self._follower.at_end

    @property
    def is_wanted(self) -> bool:
        """Whether records wait for a definition."""
        return bool(self._wanting or self._waiting)

    def step(self, timeout: float = 0.0) -> bool:
        """Follow the tables, and go on with what waits for them; whether anything came."""
        took = self._follower.follow(timeout)
        for trouble in self._follower.troubles:
            if isinstance(trouble, str):
                self._troubles.tell(trouble, self._now(), trouble)
            else:
                self._troubles.tell_trouble(trouble, self._now())
        self._follower.troubles.clear()
        if self._wanting and not self._waiting and not self._is_asking:
            self._ask_ends()
            return True
        return took > 0

    def definition(self, digest: str) -> Definition | None:
        """The definition of that hash, as last read."""
        row = self._definitions.rows.get(digest)
        return row if isinstance(row, Definition) else None

    def stopping(self, run: str) -> str | None:
        """Why the run is stopping; None if it is not."""
        row = self._control.rows.get(RUN_PREFIX + run)
        return (row.reason or row.state) if row is not None and row.state == STOPPING else None

    def is_free(self, run: str) -> bool:
        """Whether agents may fire its edges: while `control` says anything of it, that is left to the coordinator."""
        return RUN_PREFIX + run not in self._control.rows

    def check_unit(self, unit: str, agents: Iterable[str]) -> None:
        """Refuse to consume the inbox of another unit (R8).

        Raises:
            ConfigError: `apply` recorded another unit for an inbox.
        """
        for agent in agents:
            owner = self._definitions.rows.get(INBOX_PREFIX + agent)
            if isinstance(owner, str) and owner != unit:
                raise ConfigError(
                    f"inbox of {agent}: expected its unit to be {unit!r}, but `apply` recorded {owner!r}. Nothing was "
                    f"started: start unit {owner!r}, or move the agent"
                )

    # --- what waits -----------------------------------------------------------------------

    def want(self, arrival: Arrival) -> None:
        """Keep a record until its definition can be looked up for certain."""
        self._wanting.append(arrival)

    def retry(self) -> list[Arrival]:
        """Records whose answer is certain now."""
        if not self._waiting or self._ends is None or not self._follower.has_reached(self._ends):
            return []
        out, self._waiting, self._ends = self._waiting, [], None
        return out

    def forget(self, is_gone: Callable[[Arrival], bool]) -> list[Arrival]:
        """Take out what waits and is gone."""
        out = [each for each in (*self._wanting, *self._waiting) if is_gone(each)]
        self._wanting = [each for each in self._wanting if not is_gone(each)]
        self._waiting = [each for each in self._waiting if not is_gone(each)]
        return out

    def close(self) -> None:
        """Stop following."""
        self._follower.close()

    def _ask_ends(self) -> None:
        self._is_asking = True
        self._waiting, self._wanting = self._wanting, []
        self._ends = None  # of an earlier question, whose records have gone meanwhile

        def answered(reply: Reply) -> None:
            self._is_asking = False
            if reply.error is None:
                self._ends = reply.ends
            else:
                self._wanting, self._waiting = self._waiting + self._wanting, []

        self._ask(ReadEnds(self._definitions.places, Isolation.UNCOMMITTED), answered)


def _read_definition(record: Record) -> Definition | str:
    """A compiled pipeline under its hash; under `pipeline:` and `inbox:` names that point to something."""
    key, value = (record.key or b"").decode(errors="replace"), record.value or b""
    if ":" in key:
        return value.decode(errors="replace")
    return read_published(key, value)


def _read_control(record: Record) -> RunControl:
    row = decode(record.value or b"")
    if not isinstance(row, RunControl):
        raise RecordError(f"expected a RunControl, but found {type(row).__name__}")
    return row
