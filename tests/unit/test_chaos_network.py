"""The network between the nodes of a cluster: who is cut off from whom, and what becomes of what was on its way."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from farandole.testing.broker.network import Network, holds, socket_inode
from farandole.testing.broker.process import NodePlan, server_properties
from farandole.testing.broker.quorum import NODES, REPLICATED

HERE, THERE = 1, 2
WAIT_S = 10.0
QUIET_S = 0.2
"""How long nothing must come through a cut."""

ASK = """
import socket, sys
link = None
for line in sys.stdin:
    link = link or socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    link.sendall(line.encode())
    print(link.recv(100).decode(), end="", flush=True)
"""


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a node that says everything once more."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve(link: socket.socket) -> None:
            with closing(link), suppress(OSError):
                while data := link.recv(100):
                    link.sendall(data)

        def accept() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(link,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


class Asker:
    """A process of its own that talks to a port, from the first word on."""

    def __init__(self, port: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ASK, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._heard: list[str] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def heard(self, word: str, within: float = WAIT_S) -> bool:
        with self._news:
            return self._news.wait_for(lambda: word in self._heard, within)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._heard.append(line.strip())
                self._news.notify_all()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        for each in (self.process.stdin, self.process.stdout):
            assert each is not None
            each.close()


def test_node_that_is_cut_off_hears_nothing_and_loses_nothing_while_others_go_on(echo: int) -> None:
    owners: dict[int, int] = {}
    network = Network(lambda: owners)
    front = network.front(HERE, echo)
    with closing(network), closing(Asker(front)) as node, closing(Asker(front)) as client:
        owners[node.process.pid] = THERE
        for each in (node, client):
            each.say("before")
            assert each.heard("before")

        network.cut_off(HERE, [HERE, THERE])
        node.say("during")
        client.say("during")

        assert client.heard("during"), "who is no node is never cut off"
        assert not node.heard("during", QUIET_S)
        network.heal()
        assert node.heard("during")


def test_connection_is_known_by_the_process_that_holds_it(echo: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", echo))) as link:
        inode = socket_inode(link.getsockname()[1], echo)

        assert holds(os.getpid(), inode)
        assert not holds(os.getppid(), inode)


def test_sockets_are_found_in_both_tables_of_the_system(tmp_path: Path) -> None:
    # The story: Java speaks IPv4 through sockets of IPv6, was not found, and the first cut cut nothing off.
    head = "  sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode\n"
    four = "   0: 0100007F:1F90 0100007F:C350 0A 0:0 0:0 0 0 0 11\n"
    six = "   0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C350 01 0:0 0:0 0 0 0 22\n"
    elsewhere = six.replace("C350", "C351").replace("22\n", "33\n")
    (tmp_path / "tcp").write_text(head + four)
    (tmp_path / "tcp6").write_text(head + elsewhere + six)

    assert socket_inode(0x1F90, 0xC350, tmp_path) == "22"
    assert socket_inode(0x1F90, 0xC351, tmp_path) == "33", "a local port serves several connections"
    assert socket_inode(0x1F91, 0xC350, tmp_path) == ""


def test_three_nodes_replicate_everything_and_two_must_be_in_sync() -> None:
    nodes = [NodePlan(number, 1000 + number, 2000 + number, Path("unused")) for number in NODES]

    lines = server_properties(nodes[0], nodes, REPLICATED).splitlines()
    found = dict(line.split("=", 1) for line in lines)

    assert found["offsets.topic.replication.factor"] == found["transaction.state.log.replication.factor"] == "3"
    assert (found["default.replication.factor"], found["min.insync.replicas"]) == ("3", "2")
    assert found["transaction.state.log.min.isr"] == "2"
