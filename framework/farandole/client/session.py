"""What a client and its runs share: the edge, the tail, the definitions, and how commands are sent.

Belongs to one event loop. Knows nothing of pipelines as Python objects.
"""

import secrets
from dataclasses import dataclass, field

from farandole.artifacts import ArtifactStore
from farandole.client.definitions import DefinitionBook
from farandole.client.looking import Looking
from farandole.client.scan import existing_places
from farandole.client.tail import EventTail
from farandole.clock import Clock, SystemClock
from farandole.errors import AccessDenied, NotReady, RunNotFound, RunRefused, TransportError
from farandole.events.catalogue import encode, type_name
from farandole.events.commands import Command
from farandole.events.envelope import Envelope
from farandole.events.topics import Topics
from farandole.ids import is_text, partition_of
from farandole.telemetry.tracing import current_traceparent
from farandole.transport.port import Edge, NewRecord, TopicPartition

COMMAND_BYTES_MAX = 1_000_000
"""Largest command, bytes: what `commands` takes, less its headers (see `transport.topology`)."""


RERUN_HEADER = "farandole_rerun_of"
"""On the start of a run that repeats an ended one: that one's id."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """The ended run that a start repeats, and the id of the fact that ended it."""

    run: str
    cause: str


@dataclass(slots=True)
class Session:
    """One client's connection. `artifacts` is needed only where results are too large to travel."""

    edge: Edge
    topics: Topics
    source: str
    artifacts: ArtifactStore | None = None
    clock: Clock = field(default_factory=SystemClock)
    tail: EventTail = field(init=False)
    book: DefinitionBook = field(init=False)
    looking: Looking = field(init=False)
    _partitions: int = 0

    def __post_init__(self) -> None:
        self.tail = EventTail(self.edge, self.topics)
        self.book = DefinitionBook(self.edge, self.topics)
        self.looking = Looking(self.edge)

    async def partitions(self) -> int:
        """P: what `commands` and `events` both have, else (somebody has changed one by hand) what `apply` recorded.

        Raises:
            ConfigError: the namespace was never applied.
        """
        if not self._partitions:
            commands = len(await existing_places(self.edge, self.topics.commands))
            events = len(await existing_places(self.edge, self.topics.events))
            recorded = await self.book.home_partitions() if commands != events else 0
            self._partitions = recorded or min(commands, events)
        return self._partitions

    async def home(self, run_id: str) -> int:
        """The home partition of a run.

        Raises:
            RunNotFound: no run can have such an id.
            ConfigError: the namespace was never applied.
        """
        if not is_text(run_id):
            raise RunNotFound(f"run {run_id!r}: expected an id in UTF-8, but it is none: no run has it", run_id=run_id)
        return partition_of(run_id, await self.partitions())

    async def at_home(self, topic: str, run_id: str) -> TopicPartition:
        """The run's partition of one of the home topics."""
        return TopicPartition(topic, await self.home(run_id))

    def command_id(self, command: Command) -> str:
        """A fresh id for a command: refusals name it as their cause."""
        kind = type_name(type(command)).removeprefix("farandole.")
        return f"{command.run_id}/{kind}/{secrets.token_hex(8)}"

    async def send(self, command: Command, command_id: str = "", *, rerun_of: "Rerun | None" = None) -> None:
        """Write a command to its run's home; a start may say which ended run it repeats.

        Raises:
            RunRefused: the command is too large to be written.
            RunNotFound: no run can have such an id.
            AccessDenied, NotReady: it was not written.
            TransportError: it was not written, or perhaps it was: sending the same once more is safe.
        """
        run_id = command.run_id or ""
        home = await self.home(run_id)
        value = encode(command)
        if len(value) > COMMAND_BYTES_MAX:
            raise RunRefused(
                f"run {run_id}: expected a command of at most {COMMAND_BYTES_MAX:,} bytes, but it has {len(value):,}. "
                "Nothing was sent; put large data where the handlers can read it, and pass its place.",
                run_id=run_id,
            )
        envelope = Envelope(
            id=command_id or self.command_id(command),
            type=type_name(type(command)),
            source=self.source,
            time=self.clock.now(),
            run=run_id,
            traceparent=current_traceparent(),
            cause=rerun_of.cause if rerun_of else "",
        )
        headers = envelope.headers()
        if rerun_of is not None:
            headers.append((RERUN_HEADER, rerun_of.run.encode()))
        record = NewRecord(self.topics.commands, run_id.encode(), value, headers, home)
        try:
            await self.edge.send(record)
        except AccessDenied as error:
            raise AccessDenied(f"run {run_id}: {type(command).__name__} was refused: {error}") from error
        except TransportError as error:
            kind = NotReady if isinstance(error, NotReady) else TransportError
            raise kind(
                f"run {run_id}: {type(command).__name__} was not acknowledged: {error}. "
                "Sending it again with the same run id is safe."
            ) from error

    async def close(self) -> None:
        """End what is read, the tail and the edge."""
        await self.book.close()
        await self.looking.close()
        await self.tail.close()
        await self.edge.close()
