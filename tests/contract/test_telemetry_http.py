"""Metrics and health over HTTP, asked as Prometheus and a container's health check ask."""

import errno
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from farandole.errors import ConfigError
from farandole.telemetry import server
from farandole.telemetry.ask import ask
from farandole.telemetry.catalogue import INFO
from farandole.telemetry.exposition import Exposition, Source
from farandole.telemetry.health import Pulse
from farandole.telemetry.samples import Sample
from farandole.telemetry.server import CONNECTIONS_MAX, TelemetryServer
from farandole.telemetry.settings import MetricsSettings


class Ask:
    """Asks a server."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port, self.host = port, host

    def __call__(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=10)) as link:
            link.request(method, path)
            answer = link.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


@contextmanager
def serving(pulse: Pulse, *sources: Source) -> Iterator[Ask]:
    exposition = Exposition([lambda: [(INFO, {("1.0", "agent", "shop"): 1.0})], *sources])
    with closing(TelemetryServer("127.0.0.1:0", exposition, pulse)) as server:
        yield Ask(server.port)


def test_metrics_are_prometheus_text_and_hold_the_process_too() -> None:
    with serving(Pulse(lambda: 0.0)) as ask:
        status, kind, text = ask("/metrics")

    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert 'farandole_process_info{process="agent",unit="shop",version="1.0"} 1.0' in text
    assert "process_start_time_seconds" in text


def test_health_answers_200_or_503_with_the_reasons() -> None:
    now, reasons = [0.0], ["tables are not read"]
    pulse = Pulse(lambda: now[0])
    pulse.beat(lambda: reasons)

    with serving(pulse) as ask:
        live, ready = ask("/health/live"), ask("/health/ready")
        now[0], reasons[:] = 1.0, []
        pulse.beat(lambda: reasons)
        later = ask("/health/ready")
        now[0] = 100.0
        hung = ask("/health/live")

    assert (live[0], json.loads(live[2])) == (200, {"status": "live", "reasons": []})
    assert (ready[0], json.loads(ready[2])) == (503, {"status": "not ready", "reasons": ["tables are not read"]})
    assert (later[0], later[1]) == (200, "application/json")
    assert hung[0] == 503
    assert "99 s ago" in json.loads(hung[2])["reasons"][0]


def test_other_paths_are_told_which_there_are_and_nothing_can_be_written() -> None:
    with serving(Pulse(lambda: 0.0)) as ask:
        status, _, text = ask("/")
        posted = ask("/metrics", "POST")
        head = ask("/health/live", "HEAD")

    assert (status, json.loads(text)["paths"]) == (404, ["/health/live", "/health/ready", "/metrics"])
    assert posted[0] == 501
    assert head == (200, "application/json", "")


def test_health_check_of_a_container_ends_well_only_if_the_process_is_ready() -> None:
    pulse = Pulse(lambda: 0.0)
    with closing(TelemetryServer("127.0.0.1:0", Exposition([]), pulse)) as it:
        url = f"http://127.0.0.1:{it.port}/health/ready"
        command = [sys.executable, "-m", "farandole.telemetry.ask", url]

        before = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        pulse.beat(list)
        after = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    gone = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (before.returncode, json.loads(before.stdout)["reasons"]) == (1, ["the loop has not begun"])
    assert (after.returncode, json.loads(after.stdout)["status"]) == (0, "ready")
    assert (gone.returncode, gone.stderr) == (1, "")


def test_health_check_of_a_container_asks_no_proxy() -> None:
    """Where `http_proxy` was set, it asked the proxy for 127.0.0.1: a container that was well was called unhealthy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with closing(TelemetryServer("127.0.0.1:0", Exposition([]), Pulse(lambda: 0.0))) as it:
        command = [sys.executable, "-m", "farandole.telemetry.ask", f"http://127.0.0.1:{it.port}/health/live"]

        told = subprocess.run(
            command,
            env={**os.environ, "http_proxy": nobody, "no_proxy": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)["status"] == "live"


def test_health_check_of_what_speaks_no_http_says_so() -> None:
    """A traceback: the error is of a kind of its own."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            client, _ = other.accept()
            with client:
                client.recv(1000)
                client.sendall(b"220 mail\r\n")

        threading.Thread(target=greet, daemon=True).start()

        is_well, said = ask(f"http://127.0.0.1:{other.getsockname()[1]}/health/live")

    assert not is_well
    assert "expected an answer, but BadStatusLine" in said


@pytest.mark.parametrize("address", [":" + "9" * 5000, "a\x00b:9464", "\u00fc" * 70 + ":9464"])
def test_address_that_is_none_is_refused_whatever_python_makes_of_it(address: str) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.listen: expected"):
        TelemetryServer(address, Exposition([]), Pulse(lambda: 0.0))


@pytest.mark.parametrize("name", ["live_within", "stale_after"])
@pytest.mark.parametrize("seconds", [0, -5])
def test_duration_with_which_nothing_is_ever_well_is_refused(name: str, seconds: int) -> None:
    """`live_within = 0` in a file called each process dead, and an orchestrator killed it again and again."""
    with pytest.raises(ConfigError, match=f"{name}: expected a duration above zero, but found {seconds} s"):
        MetricsSettings(None, **{name: timedelta(seconds=seconds)})


def test_port_in_use_is_refused_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"

        with pytest.raises(ConfigError, match=r"(?s)metrics\.listen.*in use.*--metrics HOST:PORT"):
            TelemetryServer(address, Exposition([]), Pulse(lambda: 0.0))


def test_server_that_was_closed_leaves_its_port() -> None:
    """Not for a minute, if it had answered anybody: a process that was started anew on its machine ended at once."""
    first = TelemetryServer("127.0.0.1:0", Exposition([]), Pulse(lambda: 0.0))
    port = first.port
    assert Ask(port)("/health/live")[0] == 200
    first.close()

    second = TelemetryServer(f"127.0.0.1:{port}", Exposition([]), Pulse(lambda: 0.0))
    second.close()

    assert second.port == port


def test_source_that_raises_is_told_to_who_asks_and_in_the_log_and_health_is_answered_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The connection was closed without an answer, and no line anywhere told why."""

    def broken() -> Iterator[Sample]:
        raise KeyError("a source of metrics")

    with serving(Pulse(lambda: 0.0), broken) as ask:
        metrics, live = ask("/metrics"), ask("/health/live")

    assert (metrics[0], live[0]) == (500, 200)
    assert [(each.getMessage(), each.exc_info is not None) for each in caplog.records] == [
        ("/metrics cannot be told", True)
    ]


def until_live(ask: Ask) -> int:
    """The status of `/health/live` once it is answered."""
    end = time.monotonic() + 20
    while True:
        try:
            return ask("/health/live")[0]
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < end, "it is not answered"
            time.sleep(0.01)


def has_ended(client: socket.socket) -> bool:
    """Whether the other side has let go of it; waits for that."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_connections_beyond_the_bound_are_closed_and_health_is_answered_when_others_have_gone() -> None:
    """Each had a thread and a descriptor of its own, without a bound: who held them took the process with it."""
    with serving(Pulse(lambda: 0.0)) as ask, ExitStack() as clients:
        before, opened = set(threading.enumerate()), list[socket.socket]()
        for _ in range(3 * CONNECTIONS_MAX):
            opened.append(clients.enter_context(socket.create_connection(("127.0.0.1", ask.port), timeout=20)))
            opened[-1].send(b"GET /health")

        assert all(has_ended(each) for each in opened[CONNECTIONS_MAX:])
        serving_them = [each for each in {*threading.enumerate()} - before if "process_request" in each.name]
        assert len(serving_them) <= CONNECTIONS_MAX
        clients.close()

        assert until_live(ask) == 200


def test_connection_whose_client_never_ends_its_request_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then kept it for ever: only each single read had a limit."""
    monkeypatch.setattr(server, "CLIENT_TIMEOUT_S", 3600)
    monkeypatch.setattr(server, "DEADLINE_S", 0.0)
    with serving(Pulse(lambda: 0.0)) as ask, socket.create_connection(("127.0.0.1", ask.port), timeout=20) as client:
        client.send(b"GET /health")

        assert has_ended(client)


def has_v6() -> bool:
    """Whether this machine may be reached by IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_address_without_a_host_is_every_interface_of_both_kinds() -> None:
    """It was IPv4 alone: in a cluster of IPv6 every probe failed."""
    with closing(TelemetryServer(":0", Exposition([]), Pulse(lambda: 0.0))) as it:
        answers = {host: Ask(it.port, host)("/health/live")[0] for host in ("127.0.0.1", *["::1"] * has_v6())}

    assert set(answers.values()) == {200}


def test_address_without_a_host_is_ipv4_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = server._Server

    def without_v6(address: tuple[str, int], handler: Any, *, also_v4: bool = False) -> Any:
        if also_v4:
            raise OSError(errno.EAFNOSUPPORT, "address family not supported")
        return real(address, handler)

    monkeypatch.setattr(server, "_Server", without_v6)
    with closing(TelemetryServer(":0", Exposition([]), Pulse(lambda: 0.0))) as it:
        answer = Ask(it.port)("/health/live")

    assert answer[0] == 200


def test_port_in_use_is_refused_on_every_interface_too() -> None:
    with closing(TelemetryServer("127.0.0.1:0", Exposition([]), Pulse(lambda: 0.0))) as it:
        with pytest.raises(ConfigError, match=r"in use"):
            TelemetryServer(f":{it.port}", Exposition([]), Pulse(lambda: 0.0))
