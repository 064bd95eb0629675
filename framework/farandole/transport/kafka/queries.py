"""What can be asked of a cluster without changing it: offsets, committed positions, members.

Blocking and bounded; serves the admin, the asyncio edge and the helper thread of a member.

A question to a group's coordinator must never time out inside librdkafka: when the coordinator
comes back after that, the process aborts (assertion `eonce->refcnt > 0`, librdkafka issue 4605,
open; seen with 2.16.0 after every outage). So the client may wait for an hour, we do not, and a
client whose answer we have given up is thrown away with the question.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar, cast

from confluent_kafka import ConsumerGroupState, IsolationLevel, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,
    ConsumerGroupDescription,
    ListOffsetsResultInfo,
    MemberDescription,
    OffsetSpec,
    TopicDescription,
)

from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka.access import UNAUTHORIZED, Refusals, unauthorized
from farandole.transport.kafka.errors import UNREACHABLE, error_of, failure, told
from farandole.transport.kafka.settings import KafkaSettings, Value
from farandole.transport.port import Isolation, Position, TopicPartition

if TYPE_CHECKING:
    from farandole.transport.kafka.membership import Members

T = TypeVar("T")

_ISOLATION = {
    Isolation.COMMITTED: IsolationLevel.READ_COMMITTED,
    Isolation.UNCOMMITTED: IsolationLevel.READ_UNCOMMITTED,
}

_DIVIDING = (ConsumerGroupState.PREPARING_REBALANCING, ConsumerGroupState.COMPLETING_REBALANCING)

GRACE = 1.0
"""Seconds beyond a request's time-out until its future is given up: the client answers first, with a reason."""

SLICE = 0.25
"""Seconds between two looks at what the connections have met while an answer is waited for; `metadata` looks ever
less often."""

MOVED = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._NOENT,  # "no leaders found": the broker is back, and knows of none yet [measured]
    }
)
"""A partition's leader is not what the client remembers, as after every restart of a broker. The client keeps asking
with what it remembers, for minutes [measured]: another one is made."""

MOVED_PAUSE = 0.1
"""Seconds before the other one asks: a leader may be being elected. Kafka's `retry.backoff.ms`."""

FIRST_TRY = 1 / 3
"""Share of our patience after which a leader that does not answer is looked up anew: it may have been elected away."""

NEVER = 3_600.0
"""Longest time-out that the client takes, seconds."""


class Queries:
    """Questions through an admin client; thread-safe."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._patience = settings.patience
        self._client: AdminClient | None = None
        self._making = threading.Lock()

    @property
    def client(self) -> AdminClient:
        """The client that serves now; for calls that go to no group's coordinator.

        Made when it is first asked for: it has six threads, and a member asks nothing through it.
        """
        with self._making:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets at an isolation level.

        Raises:
            TransportError: one of them is unknown, or there was no answer.
        """
        return self._offsets(partitions, OffsetSpec.latest(), isolation)  # type: ignore[no-untyped-call]

    def true_ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """As `ends`, and never of a leader that is cut off from the others: for what is decided by them."""
        from farandole.transport.kafka.ends import read_ends

        return read_ends(self._settings, self._client_id, partitions, isolation)

    def true_brokers(self, partitions: Sequence[TopicPartition]) -> str:
        """Addresses of the brokers that know who really leads them: whoever begins there is not led to another.

        Raises:
            TransportError: one of them is unknown, or there was no answer.
        """
        from farandole.transport.kafka.ends import find_brokers

        return find_brokers(self._settings, self._client_id, partitions)

    def beginnings(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """First offsets that still exist.

        Raises:
            TransportError: one of them is unknown, or there was no answer.
        """
        return self._offsets(partitions, OffsetSpec.earliest(), Isolation.UNCOMMITTED)  # type: ignore[no-untyped-call]

    def prepare(self) -> None:
        """Import what the others are asked with, which takes as long as all the rest: best while a group makes room."""
        for name in ("positions", "ends", "membership"):
            import_module(f"farandole.transport.kafka.{name}")

    def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None, *, stable: bool
    ) -> Mapping[TopicPartition, Position | None]:
        """Committed positions of a group, all if `partitions` is None.

        None where there never was one; if `stable`, what is pending is absent. One request for all of them, where a
        consumer's `committed()` waits for all if one is pending (R12).

        Raises:
            TransportError: there was no answer.
        """
        if partitions is not None and not partitions:
            return {}
        from farandole.transport.kafka.positions import read_positions

        return read_positions(self._settings, self._client_id, group, partitions, stable=stable)

    def members(self, group: str) -> frozenset[str]:
        """Client ids of a group's members; errors as `clients`."""
        return frozenset(self.clients(group))

    def clients(self, group: str) -> tuple[str, ...]:
        """The client id of each member of a group, sorted; none if nobody knows the group.

        Raises:
            TransportError: there was no answer.
        """
        return tuple(sorted(client for client, _ in self.member_ids(group)))

    def true_members(self, group: str) -> "Members":
        """Who is in a group, as its coordinator says that is not cut off from the others: for what is decided by it.

        Raises:
            TransportError: there was no answer.
        """
        from farandole.transport.kafka.membership import read_members

        return read_members(self._settings, self._client_id, group)

    def member_ids(self, group: str) -> list[tuple[str, str]]:
        """Client id and member id of each member; errors as `clients`."""
        return [(member.client_id, member.member_id) for member in self._described(group)]

    def assigned(self, group: str) -> frozenset[str]:
        """Topics of which a member has partitions; errors as `clients`."""
        return _held(self._described(group))

    def topics_read(self, group: str) -> frozenset[str] | None:
        """As `assigned`; None while the group divides them anew, when its coordinator tells of no partitions."""
        found = self._group(group)
        if found is None:
            return frozenset()
        return None if found.state in _DIVIDING else _held(found.members)

    def _described(self, group: str) -> list[MemberDescription]:
        found = self._group(group)
        return [] if found is None else list(found.members)

    def _group(self, group: str) -> ConsumerGroupDescription | None:
        """What its coordinator says of a group; None if nobody knows it."""
        try:
            described = self._of_coordinator(
                lambda client: client.describe_consumer_groups([group], request_timeout=NEVER), f"members of {group}"
            )
        except TransportError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and error_of(cause).code() == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            raise
        assert isinstance(described, ConsumerGroupDescription)
        return described

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it does not exist. Never creates it.

        Raises:
            TransportError: there was no answer.
        """
        futures = self.client.describe_topics(TopicCollection([topic]), request_timeout=self._patience)
        try:
            described = cast(TopicDescription, self.result(futures[topic], f"topic {topic}"))
        except TransportError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and error_of(cause).code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return 0
            raise
        return len(described.partitions)

    def metadata(self) -> ClusterMetadata:
        """Brokers, and the topics that we may see.

        Raises:
            AccessDenied: the cluster does not let us in.
            TransportError: there was no answer.
        """
        until, seconds = time.monotonic() + self._patience, SLICE
        while True:
            left = max(0.0, until - time.monotonic())
            try:
                # Each try is a request of its own, and no refusal is heard meanwhile. So the first is short, and the
                # last has all that is left: a cluster that is slower than each of them would never be reached.
                found = self.client.list_topics(timeout=seconds if seconds * 2 <= left else left)
            except KafkaException as error:
                self._hear(self.client)
                if time.monotonic() >= until or error_of(error).code() not in UNREACHABLE:
                    raise self._refusals.reason(told(error)) from error
                seconds *= 2
            else:
                self._refusals.answered()
                return found

    def result(self, future: "Future[T]", about: str) -> T:
        """What a future of the admin client brings.

        Raises:
            TransportError: an error, or nothing in time.
        """
        error = self._error_of(self.client, future, self._patience + GRACE)
        match error:
            case None:
                self._refusals.answered()
                return future.result()
            case TimeoutError():
                raise self._refusals.reason(f"{about}: no answer in {self._patience:.0f} s") from error
            case KafkaException() if error_of(error).code() in UNAUTHORIZED:
                raise unauthorized(error_of(error), about) from error
            case KafkaException() if error_of(error).code() in UNREACHABLE:
                raise self._refusals.reason(f"{about}: {told(error)}") from error
            case KafkaException():
                raise failure(f"{about}: {told(error)}", error) from error
            case _:
                raise error

    def _error_of(self, client: AdminClient, future: "Future[T]", seconds: float) -> BaseException | None:
        """The error that a future brings, if any; not waited for any longer once the client was refused.

        Not raised: a future keeps its error, and once raised that keeps every frame that it passed, with future and
        client in them. A client that is thrown away lived on with its threads, one for each outage (a soak's find).
        """
        until = time.monotonic() + seconds
        while not future.done() and (left := until - time.monotonic()) > 0:
            wait([future], min(SLICE, left))
            if not future.done():
                self._hear(client)
        return future.exception() if future.done() else TimeoutError()

    def _hear(self, client: AdminClient) -> None:
        """Take in what the connections have met."""
        client.poll(0)
        self._refusals.check()

    def _of_coordinator(self, ask: Callable[[AdminClient], Mapping[str, "Future[object]"]], about: str) -> object:
        client = self.client
        (future,) = ask(client).values()
        try:
            error = self._error_of(client, future, self._patience)
        except AccessDenied:
            self._throw_away(client)
            raise
        match error:
            case None:
                return future.result()
            case TimeoutError():
                self._throw_away(client)
                raise NotReady(f"{about}: no answer in {self._patience:.0f} s") from error
            case KafkaException() if error_of(error).code() in UNAUTHORIZED:
                raise unauthorized(error_of(error), about) from error
            case KafkaException():
                if error_of(error).code() < 0:
                    # Not the broker's answer, but the client's own: it may have given up by itself.
                    self._throw_away(client)
                raise failure(f"{about}: {told(error)}", error) from error
            case _:
                raise error

    def _throw_away(self, client: AdminClient) -> None:
        with self._making:
            if self._client is client:
                self._client = None

    def _new_client(self) -> AdminClient:
        self._refusals = Refusals(self._settings.bootstrap)
        config: dict[str, object] = {**self._settings.common(self._client_id), "error_cb": self._refusals}
        return AdminClient(cast("dict[str, Value]", config))  # its types know no callbacks

    def _offsets(
        self, partitions: Sequence[TopicPartition], spec: OffsetSpec, isolation: Isolation
    ) -> Mapping[TopicPartition, int]:
        if not partitions:
            return {}
        until, seconds = time.monotonic() + self._patience, self._patience * FIRST_TRY
        while True:
            client = self.client
            try:
                return self._offsets_by(client, partitions, spec, isolation, seconds)
            except TransportError as error:
                cause = error.__cause__
                moved = isinstance(cause, KafkaException) and error_of(cause).code() in MOVED
                left = until - time.monotonic()
                if not (moved or isinstance(error, NotReady)) or left < MOVED_PAUSE:
                    raise
                seconds = min(seconds, left) if moved else left
            self._throw_away(client)
            time.sleep(MOVED_PAUSE)

    def _offsets_by(
        self,
        client: AdminClient,
        partitions: Sequence[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
        seconds: float,
    ) -> Mapping[TopicPartition, int]:
        futures = client.list_offsets(
            {KafkaPartition(*at): spec for at in partitions},
            isolation_level=_ISOLATION[isolation],
            request_timeout=seconds,
        )
        found: dict[TopicPartition, int] = {}
        for at, future in futures.items():
            answer = cast(ListOffsetsResultInfo, self.result(future, f"offsets of {at.topic}/{at.partition}"))
            if answer.offset < 0:
                # The client's own time-out is no error to it: it leaves the offset as it was made, at -1001. Taken
                # for an end, it makes a table look empty whose leader is away.
                raise NotReady(f"offsets of {at.topic}/{at.partition}: its leader did not answer in {seconds:.0f} s")
            found[TopicPartition(at.topic, at.partition)] = answer.offset
        return found


def _held(members: Iterable[MemberDescription]) -> frozenset[str]:
    return frozenset(at.topic for member in members for at in member.assignment.topic_partitions)
