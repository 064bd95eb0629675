"""Kafka nodes as Java processes of our own: configuration, start, end.

A node is ended by its own process id. Should the tests be killed before they can do so,
a guard (a shell that waits for our end of a pipe to close) does it and removes the data:
no run of the tests leaves a broker behind. How three of them find each other is told in `quorum.py`.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

from farandole.testing.broker.settings import TEST_PROPERTIES

# The nodes replicate nothing on a single one; three replicate all of it.
_REPLICATED = (
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
)
_GUARD = 'read -r _; kill -9 "$1" 2>/dev/null; rm -rf -- "$2"'
_SAID_LINES = 3
_SAID_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Where one node lives: its number, its ports on the loopback, its folder."""

    node_id: int
    client_port: int
    controller_port: int
    folder: Path
    listeners: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Further listeners by name: protocol and port."""

    @property
    def client_address(self) -> str:
        """Where clients find the node."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def controller_address(self) -> str:
        """Where the other nodes of the quorum find it."""
        return f"127.0.0.1:{self.controller_port}"


def server_properties(node: NodePlan, cluster: Sequence[NodePlan], extra: Mapping[str, str]) -> str:
    """The configuration file of `node`, a broker and controller in a quorum of all nodes of `cluster`."""
    replicas = str(min(3, len(cluster)))
    more = "".join(f",{name}://localhost:{port}" for name, (_, port) in node.listeners.items())
    protocols = "".join(f",{name}:{protocol}" for name, (protocol, _) in node.listeners.items())
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.bootstrap.servers": ",".join(each.controller_address for each in cluster),
        "listeners": f"PLAINTEXT://{node.client_address},CONTROLLER://{node.controller_address}{more}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}",
        "log.dirs": str(node.folder / "data"),
        "transaction.state.log.min.isr": str(max(1, len(cluster) - 1)),
        "share.coordinator.state.topic.min.isr": str(max(1, len(cluster) - 1)),
        **dict.fromkeys(_REPLICATED, replicas),
        **TEST_PROPERTIES,
        **extra,
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())


class Node:
    """One Java process, started and ended as often as a test wants; its folder stays until `remove`."""

    def __init__(self, plan: NodePlan, command: Sequence[str], log: Path | None = None) -> None:
        self.plan = plan
        self._log = log or plan.folder / "console.log"
        self._command = list(command)
        self._java: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the node while it runs."""
        return self._java.pid if self._java is not None and self.is_alive() else None

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._java is not None and self._java.poll() is None

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal ends the tests, and they end the broker.
            self._java = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._java.pid), str(self.plan.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def terminate(self, grace: timedelta = timedelta(seconds=15)) -> None:
        """End the process in good order, or by force after `grace`."""
        if self._java is not None and self.is_alive():
            self._java.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._java.wait(grace.total_seconds())
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        if self._java is not None:
            self._java.kill()
            self._java.wait()
            self._java = None
        # After the process, so that at no time nobody would end it.
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
            self._guard = None

    def freeze(self) -> None:
        """Let it stand still: its connections stay open, and nothing is answered."""
        if self._java is not None:
            self._java.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._java is not None:
            self._java.send_signal(signal.SIGCONT)

    def said(self) -> str:
        """What the process wrote to its terminal, on one line."""
        return what_was_said(self._log)


def run_bounded(command: Sequence[str], output: Path, timeout: timedelta) -> int | None:
    """Run `command` to its end and give its exit code; None when it had to be ended at `timeout`.

    Both of its streams go to `output`: a pipe would stay open as long as any grandchild lives.
    """
    with output.open("wb") as stream:
        return _run_into(command, stream, timeout)


def what_was_said(output: Path) -> str:
    """The first lines of a program's output on one line, without Java's stack frames: a reason for people."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in output.read_text(errors="replace").splitlines()]
        telling = [line for line in lines if line and not line.startswith("at ")][:_SAID_LINES]
        return " / ".join(telling)[:_SAID_CHARACTERS] or "nothing"
    return "nothing"


def _run_into(command: Sequence[str], stream: IO[bytes], timeout: timedelta) -> int | None:
    process = subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
    )
    try:
        return process.wait(timeout.total_seconds())
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            # The group is the session that we made for it: it holds this command and its children only.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
