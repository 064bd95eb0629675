"""Three nodes as one cluster: each is broker and controller, every topic has three replicas, two must be in sync.

    with three_nodes(settings) as broker:
        quorum_of(broker).kill_node(1)

Clients reach the nodes at their own ports, the nodes each other through `network.py`: so a node can be
cut off from the others while its clients still reach it, which is the worse half of a partition.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata

from farandole.testing.broker.handle import Broker, TierUnavailable
from farandole.testing.broker.jars import kafka_jars
from farandole.testing.broker.maven import broker_command, find_java, format_storage, java_command, new_id
from farandole.testing.broker.network import Network
from farandole.testing.broker.process import Node, NodePlan, server_properties
from farandole.testing.broker.ready import free_ports
from farandole.testing.broker.settings import KAFKA_VERSION, BrokerSettings

NODES = (1, 2, 3)

REPLICATED: Mapping[str, str] = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    # The default waits 30 s before a replica that stands still is left out, and its partitions wait with it.
    "replica.lag.time.max.ms": "10000",
}

_BETWEEN = "BETWEEN"
"""The listener at which brokers reach each other."""

_LOOK_S = 0.2
_ANSWER_S = 5.0


class Quorum:
    """Implements `BrokerControl` over all nodes together; what is done to one of them names it."""

    def __init__(self, nodes: Mapping[int, Node], network: Network, folder: Path, timeout: timedelta) -> None:
        self.nodes = nodes
        self.network = network
        self._folder = folder
        self._timeout = timeout

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes."""
        return ",".join(node.plan.client_address for node in self.nodes.values())

    # --- all of them ------------------------------------------------------------------------

    def stop(self) -> None:
        """By force: the data go with them."""
        for node in self.nodes.values():
            node.kill()
        self.network.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End all at once."""
        for node in self.nodes.values():
            node.kill()

    def restart(self) -> None:
        """End all that run and start all; returns when every replica is in sync."""
        for node in self.nodes.values():
            node.terminate()
        self.launch()

    def launch(self) -> None:
        """Start all.

        Raises:
            TierUnavailable: they do not come to answer in time.
        """
        for node in self.nodes.values():
            node.start()
        self.await_in_sync()
        self._await_coordinator()
        self.await_in_sync()

    # --- one of them ------------------------------------------------------------------------

    def kill_node(self, number: int) -> None:
        """End one as a power cut would."""
        self.nodes[number].kill()

    def restart_node(self, number: int) -> None:
        """Start one again, which ends in good order if it runs; returns when every replica is in sync."""
        self.nodes[number].terminate()
        self.nodes[number].start()
        self.await_in_sync()

    def freeze(self, number: int) -> None:
        """Let one stand still."""
        self.nodes[number].freeze()

    def thaw(self, number: int) -> None:
        """Let it go on."""
        self.nodes[number].thaw()

    def cut_off(self, number: int) -> None:
        """Cut one off from the others; clients reach it as before."""
        self.network.cut_off(number, self.nodes)

    def heal(self) -> None:
        """Let them reach each other."""
        self.network.heal()

    # --- looking ----------------------------------------------------------------------------

    def leader_of(self, topic: str, partition: int) -> int:
        """The node that leads a partition; -1 while there is none."""
        return int(self._metadata().topics[topic].partitions[partition].leader)

    def await_in_sync(self) -> None:
        """Wait until all nodes are there and every replica is in sync: none of them is needed any more.

        Each is asked itself. One that has just been started answers when the others have taken it in again, while
        they may not even have noticed that it was away.

        Raises:
            TierUnavailable: they are not in time.
        """
        until = time.monotonic() + self._timeout.total_seconds()
        while time.monotonic() < until:
            try:
                if all(_is_whole(self._metadata(node), len(self.nodes)) for node in self.nodes.values()):
                    return
            except KafkaException:
                pass
            time.sleep(_LOOK_S)
        said = {number: node.said() for number, node in self.nodes.items()}
        raise TierUnavailable(f"the nodes were not all in sync within {self._timeout.seconds} s; they said: {said}")

    def _await_coordinator(self) -> None:
        """The first question about a group makes the topic of positions, which three nodes of a busy machine take long
        for: nobody who tests something else shall wait for it."""
        asker = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "nobody", "log_level": 0})
        until = time.monotonic() + self._timeout.total_seconds()
        try:
            while time.monotonic() < until:
                with contextlib.suppress(KafkaException):
                    asker.committed([TopicPartition("nothing", 0)], _ANSWER_S)
                    return
        finally:
            asker.close()

    def _metadata(self, node: Node | None = None) -> ClusterMetadata:
        """As a node sees the cluster, or any of them: by a client without a memory."""
        address = self.bootstrap if node is None else node.plan.client_address
        return AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=_ANSWER_S)


def quorum_of(broker: Broker) -> Quorum:
    """The nodes of a broker that has three.

    Raises:
        AssertionError: it has one.
    """
    assert isinstance(broker.control, Quorum), f"expected a cluster of {len(NODES)} nodes, but found {broker.how}"
    return broker.control


def three_nodes(settings: BrokerSettings) -> Broker:
    """Start a cluster from Maven's jars.

    Raises:
        TierUnavailable: Java or Maven is missing or too old, or the nodes did not start.
    """
    run = java_command(find_java(settings.java_home), kafka_jars(settings))
    folder = Path(tempfile.mkdtemp(prefix="farandole-kafka-"))
    nodes: dict[int, Node] = {}
    network = Network(lambda: {node.pid: number for number, node in nodes.items() if node.pid is not None})
    made = [_plan(number, folder, network) for number in NODES]
    cluster, controllers = new_id(), ",".join(f"{it.number}@{it.controller}:{new_id()}" for it in made)
    quorum = Quorum(nodes, network, folder, settings.start_timeout * len(NODES))
    try:
        for it in made:
            configuration = it.plan.folder / "server.properties"
            extra = {**it.properties(made), **REPLICATED, **settings.properties}
            configuration.write_text(server_properties(it.plan, [each.plan for each in made], extra))
            format_storage(
                run, configuration, settings.start_timeout, "-t", cluster, "--initial-controllers", controllers
            )
            nodes[it.number] = Node(it.plan, broker_command(run, configuration, settings), settings.log)
        quorum.launch()
    except BaseException:
        quorum.stop()
        raise
    return Broker(quorum.bootstrap, f"three nodes of Kafka {KAFKA_VERSION} from Maven's jars", quorum)


@dataclass(frozen=True, slots=True)
class _Made:
    """A node's place, and where the others find it."""

    number: int
    plan: NodePlan
    between_port: int
    between: str
    controller: str

    def properties(self, all_of_them: "list[_Made]") -> dict[str, str]:
        """What a node of several has that a single one has not."""
        own = self.plan
        return {
            "listeners": f"PLAINTEXT://{own.client_address},{_BETWEEN}://127.0.0.1:{self.between_port},"
            f"CONTROLLER://{own.controller_address}",
            "advertised.listeners": f"PLAINTEXT://{own.client_address},{_BETWEEN}://{self.between},"
            f"CONTROLLER://{self.controller}",
            "inter.broker.listener.name": _BETWEEN,
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,{_BETWEEN}:PLAINTEXT",
            "controller.quorum.bootstrap.servers": ",".join(each.controller for each in all_of_them),
        }


def _plan(number: int, folder: Path, network: Network) -> _Made:
    client, controller, between = free_ports(3)
    home = folder / str(number)
    home.mkdir()
    plan = NodePlan(number, client, controller, home)
    fronts = [f"127.0.0.1:{network.front(number, port)}" for port in (between, controller)]
    return _Made(number, plan, between, *fronts)


def _is_whole(found: ClusterMetadata, nodes: int) -> bool:
    partitions = [each for topic in found.topics.values() for each in topic.partitions.values()]
    return len(found.brokers) == nodes and all(set(each.isrs) == set(each.replicas) for each in partitions)
