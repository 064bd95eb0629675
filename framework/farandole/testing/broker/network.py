"""The network between the nodes of a cluster, which can be cut without anybody being told.

Each node is reached by the others through a front: a port of ours that passes bytes on. Whose
connection it is, the system knows (`/proc`): no node has to be told another address for each
of the others. A cut says nothing to either end, as a network's does: bytes wait, and new
connections are accepted by nobody. What clients use goes past all this.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Collection
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_ACCEPT_LOOK_S = 0.2


class Network:
    """`owners` says which process is which node; a process that is none of them (0) is never cut off."""

    def __init__(self, owners: Callable[[], dict[int, int]]) -> None:
        self._owners = owners
        self._is_open: dict[frozenset[int], threading.Event] = {}
        self._lock = threading.Lock()
        self._fronts: list[_Front] = []

    def front(self, node: int, port: int) -> int:
        """A port through which others reach this port of a node."""
        made = _Front(port, lambda peer, own: self.between(node, self._whose(peer, own)))
        self._fronts.append(made)
        return made.port

    def between(self, one: int, other: int) -> threading.Event:
        """Set while bytes pass between two nodes; always for a node and itself, and for strangers."""
        with self._lock:
            pair = frozenset((one, other))
            if pair not in self._is_open:
                self._is_open[pair] = threading.Event()
                self._is_open[pair].set()
            return self._is_open[pair]

    def cut_off(self, node: int, others: Collection[int]) -> None:
        """Nothing passes between a node and those, either way."""
        for other in others:
            if other != node:
                self.between(node, other).clear()

    def heal(self) -> None:
        """Everything passes; what waited first."""
        with self._lock:
            for each in self._is_open.values():
                each.set()

    def close(self) -> None:
        """End all connections."""
        for front in self._fronts:
            front.close()
        self.heal()

    def _whose(self, port: int, front: int) -> int:
        """The node that holds this end of a connection to a front; 0 if it is none."""
        inode = socket_inode(port, front)
        return next((node for pid, node in self._owners().items() if inode and holds(pid, inode)), 0)


class _Front:
    """One listening port; `gate` is asked once for each connection, with the ports of its two ends."""

    def __init__(self, upstream: int, gate: Callable[[int, int], threading.Event]) -> None:
        self._upstream = upstream
        self._gate = gate
        self._is_closed = False
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_ACCEPT_LOOK_S)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="front", daemon=True).start()

    def close(self) -> None:
        """Listen no more, and end what is connected."""
        self._is_closed = True
        self._listener.close()
        for each in list(self._open):
            _close(each)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, (_, peer) = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            client.settimeout(None)
            # At once, while the peer is sure to be there still.
            gate = self._gate(peer, self.port)
            threading.Thread(target=self._connect, args=(client, gate), name="front", daemon=True).start()

    def _connect(self, client: socket.socket, gate: threading.Event) -> None:
        gate.wait()
        try:
            node = socket.create_connection(("127.0.0.1", self._upstream))
        except OSError:
            _close(client)
            return
        for each in (client, node):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(each)
        threading.Thread(target=self._pump, args=(node, client, gate), name="front", daemon=True).start()
        self._pump(client, node, gate)

    def _pump(self, source: socket.socket, sink: socket.socket, gate: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                gate.wait()
                sink.sendall(data)
        gate.wait()  # that it was closed is not heard through a cut either
        for each in (source, sink):
            _close(each)
            self._open.discard(each)


def socket_inode(port: int, remote: int, folder: Path = Path("/proc/net")) -> str:
    """The system's number for the connected socket between these two ports; empty if there is none.

    One local port serves many connections, as long as they go to different places. Java's sockets are of IPv6 even
    where they speak IPv4.
    """
    ends = f"{port:04X}", f"{remote:04X}"
    for name in ("tcp", "tcp6"):
        table = folder / name
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == _ESTABLISHED and (fields[1][-4:], fields[2][-4:]) == ends:
                return fields[9]
    return ""


_ESTABLISHED = "01"


def holds(pid: int, inode: str) -> bool:
    """Whether a process has that socket open."""
    wanted = f"socket:[{inode}]"
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                    return True
    return False


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
