"""Celery + Redis, Restate and DBOS + PostgreSQL beside farandole, in one call on one machine.

    make bench-peers [PEERS=folder] [ONLY="celery dbos"]

They are installed by `peers/install.sh` into a folder outside the repository, in an environment of
their own. Each has fresh servers on an empty data directory, started and ended here; a run is three
no-op steps that pass 300 bytes on, and counts when its client knows that it has ended.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chains import chain
from deployment import HERE, logs
from measuring import Row, Site
from record import RECORD, Call, append, this_call
from report import write_results
from targets import PEERS

from farandole.testing.broker.ready import free_ports
from farandole.testing.cluster.process import ManagedProcess
from farandole.testing.cluster.waiting import wait_until

UP_WITHIN = timedelta(seconds=60)
OURS = "fused, direct"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the peers are installed, and a fresh folder for the data of one."""

    installed: Path
    data: Path

    @property
    def python(self) -> str:
        """The interpreter that has them."""
        return str(self.installed / "venv" / "bin" / "python")

    def script(self, name: str) -> str:
        """One of the environment's commands."""
        return str(self.installed / "venv" / "bin" / name)


Up = Callable[[Place, ExitStack], int]


@dataclass(frozen=True, slots=True)
class Peer:
    """`up` starts its servers and gives the port that its client asks for; `app` is its script.

    `server` gives the command that tells the server's version.
    """

    name: str
    app: str
    guarantee: str
    up: Up
    server: Callable[[Place], str]


def main() -> None:
    """Measure ours, then each peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help=f"which of {', '.join(_PEERS)} (all)")
    parser.add_argument("--installed", type=Path, required=True, help="where install.sh put them")
    parser.add_argument("--runs", type=int, default=200, help="one at a time, for latency")
    parser.add_argument("--seconds", type=float, default=8.0, help="of the backlog, for throughput")
    parser.add_argument("--scale", type=float, default=1.0, help="of our own measurement")
    parser.add_argument("--record", type=Path, default=RECORD)
    options = parser.parse_args()
    call = this_call(options.scale)
    ours = list(_ours(options.scale))
    best = next(row for row in ours if row.log == "kafka")
    for row in ours:
        _add(options.record, call, row, best)
    for name in options.only or _PEERS:
        peer = _PEERS[name]
        print(f"-- {peer.name} (load {os.getloadavg()[0]:.1f})", flush=True)
        _add(options.record, call, _measured(peer, options), best)
    write_results(options.record)


def _ours(scale: float) -> Iterator[Row]:
    """The chain on both logs, fused and started directly."""
    guarantee = {
        "kafka": "exactly once, run state and history kept; acks=all, one replica, page cache (Kafka's default)",
        "sqlite": "exactly once, run state and history kept; WAL, synchronous=NORMAL: the death of any process",
    }
    with logs(["kafka", "sqlite"]) as chosen:
        for log in chosen:
            site = Site(log, scale)
            site.warm_up()
            for row in chain(site, [OURS]):
                way = f"farandole on {log.name}, {row.way}: {guarantee[log.name]}"
                yield Row(PEERS, log.name, way, row.values)


def _add(record: Path, call: Call, row: Row, best: Row) -> None:
    values = {name: row.values[name] for name in ("runs_per_s", "p50_ms", "p99_ms")}
    bare = {name: best.values[name] for name in values}
    print(f"   {row.way}: " + ", ".join(f"{name} {value:,.1f}" for name, value in values.items()), flush=True)
    append(record, call, Row(row.case, row.log, row.way, values, bare))


def _measured(peer: Peer, options: argparse.Namespace) -> Row:
    with tempfile.TemporaryDirectory(prefix="farandole-peer-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)  # PostgreSQL runs as somebody else
        place = Place(options.installed.resolve(), Path(folder))
        port = peer.up(place, stack)
        ran = subprocess.run(
            [place.python, str(HERE / "peers" / peer.app), str(options.runs), str(options.seconds)],
            env={**os.environ, "PEER_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    if ran.returncode:
        raise RuntimeError(f"{peer.name}: its client ended with {ran.returncode}: {ran.stderr[-2000:]}")
    told = json.loads(ran.stdout.strip().splitlines()[-1])
    server = subprocess.run([peer.server(place), "--version"], capture_output=True, text=True, check=True).stdout
    versions = [f"{name} {version}" for name, version in told["versions"].items()]
    all_versions = ", ".join([*versions, f"server {_number(server)}"])
    return Row(PEERS, "own", f"{peer.name}: {peer.guarantee} ({all_versions})", told["figures"])


def _number(text: str) -> str:
    """The version in what a server says of itself."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else "?"


# --- servers ----------------------------------------------------------------------------------


@contextmanager
def _server(name: str, command: Sequence[object], folder: Path, **variables: str) -> Iterator[ManagedProcess]:
    process = ManagedProcess(name, [str(word) for word in command], folder, variables)
    process.start()
    try:
        yield process
    finally:
        process.end()


def _celery(place: Place, stack: ExitStack) -> int:
    (port,) = free_ports(1)
    redis = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", place.data, "--save", ""]
    redis += ["--appendonly", "yes", "--appendfsync", "everysec"]
    stack.enter_context(_server("redis", redis, place.data))
    worker = [place.python, "-m", "celery", "-A", "celery_app", "worker", "-P", "prefork", "-c", "2"]
    worker += ["--without-gossip", "--without-mingle", "-l", "INFO"]
    variables = {"PEER_PORT": str(port), "PYTHONPATH": str(HERE / "peers"), "C_FORCE_ROOT": "1"}
    process = stack.enter_context(_server("worker", worker, place.data, **variables))
    wait_until(lambda: " ready." in process.said(), UP_WITHIN, "Celery's worker", process.said)
    return port


def _restate(place: Place, stack: ExitStack) -> int:
    ingress, admin, node, served = free_ports(4)
    variables = {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
        "RESTATE_LOG_FILTER": "warn",
        "RESTATE_DISABLE_TELEMETRY": "true",
    }
    server = stack.enter_context(
        _server("restate", [_restate_binary(place), "--base-dir", place.data / "data"], place.data, **variables)
    )
    app = [place.script("hypercorn"), "-w", "1", "--bind", f"127.0.0.1:{served}", "restate_app:app"]
    paths = {"PYTHONPATH": str(HERE / "peers"), "PEER_PORT": str(ingress)}
    stack.enter_context(_server("app", app, place.data, **paths))
    wait_until(lambda: _register(admin, served), UP_WITHIN, "Restate's deployment", server.said)
    return ingress


def _restate_binary(place: Place) -> str:
    """The server itself: the Node wrapper in `.bin` would add 50 MB."""
    return str(next(place.installed.glob("restate/node_modules/@restatedev/restate-server-*/bin/restate-server")))


def _postgres_binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return str(found[-1] / name) if found else name


def _register(admin: int, served: int) -> bool:
    """Tell the server where the handlers are; false while one of them is not up."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{admin}/deployments",
        method="POST",
        data=json.dumps({"uri": f"http://127.0.0.1:{served}"}).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def _dbos(place: Place, stack: ExitStack) -> int:
    (port,), data = free_ports(1), place.data / "pg"
    data.mkdir()
    plain: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        subprocess.run(["chown", "-R", "nobody", str(data)], check=True)
        plain = ["setpriv", "--reuid=nobody", "--clear-groups", "--"]
    initdb = [*plain, _postgres_binary("initdb"), "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=data)
    command = [*plain, _postgres_binary("postgres"), "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    command += ["-c", "unix_socket_directories=", "-c", "max_connections=200"]
    server = stack.enter_context(_server("postgres", command, place.data))
    wait_until(lambda: "ready to accept connections" in server.said(), UP_WITHIN, "PostgreSQL", server.said)
    return port


_PEERS = {
    "celery": Peer(
        "Celery + Redis",
        "celery_app.py",
        "at least once (acks_late), up to 1 s lost with the power; two prefork workers, AOF everysec",
        _celery,
        lambda place: "redis-server",
    ),
    "restate": Peer(
        "Restate",
        "restate_app.py",
        "each step journaled before the next, steps at least once; one node, its defaults, 64 in flight",
        _restate,
        _restate_binary,
    ),
    "dbos": Peer(
        "DBOS + PostgreSQL",
        "dbos_app.py",
        "each step's output committed, steps at least once; fsync, one process, 64 in flight",
        _dbos,
        lambda place: _postgres_binary("postgres"),
    ),
}

if __name__ == "__main__":
    main()
