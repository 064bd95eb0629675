"""Where faults play: processes of one namespace on a real broker, under load, and what is counted in the end.

Each process has a file of orders (where to die) and, if asked for, a network of its own to be
meddled with. Whatever happens, all of them end with the stage.
"""

import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

from farandole.events.topics import Topics
from farandole.testing.broker import Broker
from farandole.testing.broker.quorum import Quorum, quorum_of
from farandole.testing.broker.transactions import ONGOING, transaction_state
from farandole.testing.chaos import dying
from farandole.testing.chaos.counting import Excuse, count
from farandole.testing.chaos.disk import Disk
from farandole.testing.chaos.load import Load
from farandole.testing.chaos.markers import Janitor
from farandole.testing.chaos.report import Report
from farandole.testing.chaos.stalls import Stalls
from farandole.testing.chaos.standing import standing
from farandole.testing.cluster import Cluster, ManagedProcess, NotYet, wait_until
from farandole.testing.history import collect, lag
from farandole.testing.ledger import read
from farandole.testing.proxy import KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import Admin, TopicPartition

CANARY = Path(__file__).parent / "canary"
COORDINATOR = "coordinator"
MODULE = "farandole.testing.chaos.process"

START_MAX = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Plan:
    """What stands on a stage. `session_s` is the shortest allowed, unless defaults are measured."""

    agents: int = 2
    coordinators: int = 2
    per_second: float = 15
    partitions: int = 4
    session_s: float = 6
    proxied: bool = False
    is_replicated: bool = False
    """Whether there are three brokers."""

    disks_mib: tuple[tuple[str, int], ...] = ()
    """Small disks of its own by name: `broker` is where its log stands, `artifacts` where the store is."""

    excused: tuple[str, ...] = ()
    """Predicates of the checker that the fault itself breaks, as its module says; of damaged topics, if any are."""

    settle_max: timedelta = timedelta(seconds=150)
    """For what is under way to end: three sessions, a transaction's time-out, retries, and a busy machine."""

    seed: int = 0
    variables: tuple[tuple[str, str], ...] = ()
    """Further settings of every process, as it finds them in its environment."""


@dataclass
class Actor:
    """One process: its name in the group, its orders, and its network."""

    unit: str
    slot: str
    transactional_id: str
    process: ManagedProcess
    orders: Path
    proxy: KafkaProxy | None = None


class Stage:
    """A context; `actors` by slot (a1, a2, … and c1, c2, …)."""

    def __init__(
        self, broker: Broker, namespace: str, folder: Path, plan: Plan, disks: Mapping[str, Disk] | None = None
    ) -> None:
        self.broker = broker
        self.plan = plan
        self.disks = disks or {}
        self.artifacts = folder / "artifacts"
        """On a disk of its own it is a link, which can be led elsewhere."""

        self.dice = random.Random(plan.seed)
        self.topics = Topics(namespace)
        self.transport = KafkaTransport(KafkaSettings(broker.bootstrap))
        self.ledger = folder / "ledger"
        self.actors: dict[str, Actor] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if "artifacts" in self.disks:
            real = self.disks["artifacts"].path / "artifacts"
            real.mkdir()
            self.artifacts.symlink_to(real)
        session = f"{plan.session_s:g}s"
        self._cluster = Cluster(
            broker.bootstrap,
            namespace,
            folder,
            variables={
                "FARANDOLE_ARTIFACTS": str(self.artifacts),
                "FARANDOLE_PARTITIONS": str(plan.partitions),
                "FARANDOLE_AGENT__SESSION_TIMEOUT": session,
                "FARANDOLE_COORDINATOR__SESSION_TIMEOUT": session,
                **dict(plan.variables),
            },
        )
        self.folder = folder
        self.notes: list[str] = []
        """What an injection has to say beside its figures."""

        self.cancelled: set[str] = set()
        """Runs that a person gave up, for their triggers were deleted."""

        self._damaged: set[str] = set()
        self._strangers: list[Producer] = []
        self._stalls: Stalls | None = None
        self._janitor: Janitor | None = None
        self.load: Load | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.load is not None:
            self.load.close()
        if self._stalls is not None:
            self._stalls.close()
        if self._janitor is not None:
            self._janitor.close()
        self._cluster.end()
        for actor in self.actors.values():
            if actor.proxy is not None:
                actor.proxy.__exit__(None, None, None)

    # --- the play ---------------------------------------------------------------------------

    def up(self) -> None:
        """Apply, start everybody, start the load, and see the first runs through.

        Raises:
            AssertionError: it does not come up.
        """
        self.command("apply", str(CANARY), "--yes")
        for n in range(self.plan.agents):
            self.add(f"a{n + 1}")
        for n in range(self.plan.coordinators):
            self.add(f"c{n + 1}")
        self.await_members(self.actors.values())
        self.load = Load(self.broker.bootstrap, self.topics, self.plan.partitions, self.plan.per_second)
        self._stalls = Stalls(self.transport, self._watched)
        self._until(lambda: len(self.settled) >= 5, START_MAX, "the first runs to settle")

    def add(self, slot: str) -> Actor:
        """Start a process: of agents for slots `a…`, a coordinator for others."""
        unit = CANARY.name if slot.startswith("a") else COORDINATOR
        orders = self.folder / f"{slot}.orders"
        proxy = KafkaProxy(self.broker.bootstrap) if self.plan.proxied else None
        given = ["agent", "run", str(CANARY)] if unit == CANARY.name else [COORDINATOR, "run"]
        process = self._cluster.spawn(
            slot,
            [sys.executable, "-m", MODULE, str(orders), str(self.ledger), *given, "--slot", slot],
            {} if proxy is None else {"FARANDOLE_BOOTSTRAP": proxy.bootstrap},
        )
        actor = Actor(unit, slot, f"{self.topics.group(unit)}.{slot}", process, orders, proxy)
        self.actors[slot] = actor
        return actor

    def die(self, actor: Actor, place: str, within: timedelta = timedelta(seconds=40)) -> bool:
        """Let it die at a place of its way; whether its transaction is open then; errors as `await_death`."""
        dying.order(actor.orders, place)
        self.await_death(actor, place, within)
        return self.is_open(actor)

    def await_death(self, actor: Actor, place: str, within: timedelta = START_MAX) -> None:
        """Wait until it has died as it was ordered to, and of nothing else: a crash of its own is a finding.

        Raises:
            NotYet: it lives.
            AssertionError: it ended otherwise, or before it came to the place.
        """
        self._until(lambda: not actor.process.is_alive, within, f"{actor.slot} to die {place}")
        code, is_taken = actor.process.ended_with, not actor.orders.exists()
        assert code == -signal.SIGKILL and is_taken, (  # noqa: PT018
            f"{actor.slot}: expected it to die {place} by SIGKILL, but it ended with {code}, and its order was "
            f"{'taken' if is_taken else 'not taken'}\n{actor.process.said()}"
        )

    def stop(self, chosen: Sequence[Actor]) -> None:
        """Let these end in order.

        Raises:
            AssertionError: one did not end with 0.
        """
        for actor in chosen:
            actor.process.sigterm()
        codes = {actor.slot: actor.process.wait() for actor in chosen}
        assert not any(codes.values()), f"expected orderly ends, but found {codes}\n{self.said()}"

    def is_open(self, actor: Actor) -> bool:
        """Whether the broker has a transaction of its open."""
        return transaction_state(self.broker.bootstrap, actor.transactional_id) == ONGOING

    def await_members(self, chosen: Collection[Actor]) -> None:
        """Wait until these are members of their groups."""
        with closing(self.transport.admin()) as admin:
            self._until(
                lambda: all(
                    {a.transactional_id for a in chosen if a.unit == unit} <= admin.members(self.topics.group(unit))
                    for unit in {a.unit for a in chosen}
                ),
                START_MAX,
                "everybody to have joined",
            )

    def await_departure(self, actor: Actor) -> None:
        """Wait until the group has missed one that is dead."""
        with closing(self.transport.admin()) as admin:
            group = self.topics.group(actor.unit)
            self._until(
                lambda: actor.transactional_id not in admin.members(group), START_MAX, f"the group to miss {actor.slot}"
            )

    def recovery(
        self, since: float, more: Collection[str] = (), probes: int = 8, within: timedelta | None = None
    ) -> float:
        """Seconds from `since` until every run has ended that was under way then, `more`, and some started now.

        `within`: None is the plan's `settle_max`.

        Raises:
            NotYet: they do not.
        """
        load = self._load()
        under_way = load.under_way(since) | {*more, *load.start(probes)}
        longest = within or self.plan.settle_max
        try:
            self._until(lambda: not under_way - load.settled.keys(), longest, f"{len(under_way)} runs to end")
        except NotYet as error:
            error.add_note(self._standing(under_way - load.settled.keys()))
            raise
        return max(load.settled[run] for run in under_way) - since

    def command(self, *arguments: str) -> None:
        """Run a command of the command line as a person would.

        Raises:
            AssertionError: it did not end with 0.
        """
        ended = self._cluster.run(*arguments, within=START_MAX)
        assert ended.code == 0, f"{' '.join(arguments)} ended with {ended.code}:\n{ended.stdout}\n{ended.stderr}"

    def damaged(self, agent: str) -> str:
        """The inbox of an agent, from which records are going to be deleted: what is missing there is no finding."""
        topic = self.topics.inbox(agent)
        self._damaged.add(topic)
        return topic

    @property
    def damaged_topics(self) -> frozenset[str]:
        """Those inboxes so far."""
        return frozenset(self._damaged)

    def is_damaged(self, agent: str) -> bool:
        """Whether records were deleted from its inbox."""
        return self.topics.inbox(agent) in self._damaged

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for the stage to come to a state.

        Raises:
            NotYet: it does not.
        """
        self._until(condition, START_MAX, what)

    def open_on_events(self) -> None:
        """Open a transaction on one partition of `events`, as a stranger who then walks away."""
        stranger = Producer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "transactional.id": f"{self.topics.namespace}.stranger",
                "transaction.timeout.ms": 10_000,
                "log_level": 0,
            }
        )
        stranger.init_transactions(20)
        stranger.begin_transaction()
        stranger.produce(self.topics.events, b"nothing", b"nobody", partition=0)
        stranger.flush(20)
        self._strangers.append(stranger)  # one that is collected would end its transaction

    @property
    def settled(self) -> dict[str, float]:
        """When runs settled."""
        return self._load().settled

    def restart_broker(self) -> None:
        """Start an only broker again; from now on somebody does what `doctor` says of what it forgets to end."""
        self.broker.restart()
        if self._janitor is None:
            self._janitor = Janitor(self.transport.settings, f"{self.topics.namespace}.")

    @property
    def quorum(self) -> Quorum:
        """The nodes, where the plan has three."""
        return quorum_of(self.broker)

    # --- the end ----------------------------------------------------------------------------

    def finish(self, report: Report) -> None:
        """Let everything end, end everybody, and count."""
        load, began = self._load(), time.monotonic()
        load.stop()
        with suppress(AssertionError):
            self._until(lambda: not load.waiting(), self.plan.settle_max, "all runs to end")
        stuck = load.waiting()
        report.trouble = self._standing(stuck) if stuck else ""
        if not stuck:
            self._until(lambda: lag(self.transport, self.topics.namespace) == 0, self.plan.settle_max, "a lag of 0")
        ended = [actor.slot for actor in self.actors.values() if not actor.process.is_alive]
        alive = [actor for actor in self.actors.values() if actor.process.is_alive]
        with suppress(AssertionError):  # one that is still starting knows no orderly end yet
            self.await_members(alive)
        codes = self._cluster.terminate()
        load.close()
        assert self._stalls is not None
        self._stalls.close()
        history = collect(self.transport, self.topics.namespace, quiescent=not stuck)
        if self._janitor is not None:
            self.notes += self._janitor.notes
        seen = replace(history, executions=read(self.ledger))
        count(report, seen, load, Excuse(self.plan.excused, self._damaged, self.cancelled))
        report.stuck = len(stuck)
        report.metadata_characters = self._longest_metadata()
        report.notes += self.notes
        report.stall_s = self._stalls.longest_s
        report.seconds += time.monotonic() - began
        if ended:
            report.trouble = f"{', '.join(ended)} ended by themselves"
        elif any(codes.values()):
            report.trouble = f"expected orderly ends, but found {codes}\n{self.said()}"

    def _longest_metadata(self) -> int:
        with closing(self.transport.admin()) as admin:
            groups = {self.topics.group(actor.unit) for actor in self.actors.values()}
            found = [len(p.metadata) for group in groups for p in admin.positions(group).values()]
        return max(found, default=0)

    def said(self) -> str:
        """The ends of all logs."""
        return self._cluster.said()

    def _standing(self, runs: Collection[str]) -> str:
        settings = KafkaSettings(self.broker.bootstrap)
        return standing(settings, self.topics, self._load(), runs, self.plan.partitions)

    def _watched(self, admin: Admin) -> list[TopicPartition]:
        names = [name for name in admin.topics() if name.startswith(f"{self.topics.namespace}.inbox.")]
        found = admin.topics([self.topics.events, *names])
        return [TopicPartition(name, n) for name, spec in found.items() for n in range(spec.partitions)]

    def _load(self) -> Load:
        assert self.load is not None, "expected a stage that is up"
        return self.load

    def _until(self, condition: Callable[[], object], within: timedelta, what: str) -> None:
        wait_until(condition, within, what, self.said)


def pause(seconds: float) -> None:
    """A fault lasts for a time: this is how long, nothing is waited for."""
    threading.Event().wait(seconds)
