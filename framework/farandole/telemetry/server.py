"""`/metrics`, `/health/live` and `/health/ready` over HTTP, in a thread of its own.

Read-only and without secrets: it says how much there is of what, never whose.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import EADDRINUSE
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SHUT_RDWR, SO_REUSEADDR, SOL_SOCKET, socket
from typing import Any

from farandole.errors import ConfigError
from farandole.telemetry.exposition import Exposition
from farandole.telemetry.health import Pulse
from farandole.telemetry.settings import parse_address

CLIENT_TIMEOUT_S = 10
"""A client that says nothing for so long is let go of."""

DEADLINE_S = 10.0
"""What a connection may last, whatever its client says meanwhile. Prometheus waits for 10 s by default."""

CONNECTIONS_MAX = 16
"""Connections at a time, each with a thread; what is beyond is closed at once. A scraper and two probes need three."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of Prometheus' text format."""

log = logging.getLogger("farandole.metrics")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, content type, body."""

    status: int
    kind: str
    body: bytes


class TelemetryServer:
    """Serves one process's metrics and health at `address` (`host:port`; port 0 takes a free one)."""

    def __init__(self, address: str, exposition: Exposition, pulse: Pulse) -> None:
        """Listen at once.

        Raises:
            ConfigError: the address is none, or cannot be listened on.
        """
        host, port = parse_address(address)
        pages: dict[str, Callable[[], Answer]] = {
            "/metrics": lambda: Answer(200, TEXT, exposition.text()),
            "/health/live": lambda: _health("live", pulse.not_live()),
            "/health/ready": lambda: _health("ready", pulse.not_ready()),
        }
        try:
            self._server = _listening(host, port, _handler(pages))
        except (OSError, OverflowError, TypeError) as bad:  # TypeError: of a host that is no name
            raise ConfigError(
                f"metrics.listen: expected an address to listen on, but {address!r} cannot be used: {bad}. Nothing was "
                "started: choose another port with --metrics HOST:PORT, or end what uses this one"
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="farandole-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _listening(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> "_Server":
    """A server at that address; an empty host is every interface, of IPv6 and of IPv4, or of IPv4 where that is all."""
    if not host:
        try:
            return _Server(("::", port), handler, also_v4=True)
        except OSError as error:
            if error.errno == EADDRINUSE:
                raise
    return _Server((host, port), handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Else a second process would share the port silently and only one of both could be scraped.
    allow_reuse_port = False
    # Python's 5 make whoever comes in company wait for a second attempt of the kernel's, a second later.
    request_queue_size = 4 * CONNECTIONS_MAX

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], *, also_v4: bool = False
    ) -> None:
        if ":" in address[0]:
            self.address_family = AF_INET6
        self._also_v4 = also_v4
        self._open: dict[socket, float] = {}
        """When each was accepted, on the monotonic clock. Only the serving thread adds."""
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is a place."""
        if len(self._open) >= CONNECTIONS_MAX:
            return self.shutdown_request(request)
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """It is over, however it ended."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Let go of whoever is there for too long; asked about twice a second."""
        until = time.monotonic() - DEADLINE_S
        for connection in [each for each, since in self._open.copy().items() if since <= until]:
            with suppress(OSError):  # it has just ended
                connection.shutdown(SHUT_RDWR)

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, which may take seconds."""
        # Else a process that is started anew finds its port in use for a minute, by connections that have ended.
        self.socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        if self._also_v4:
            self.socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no event."""


def _health(what: str, reasons: Sequence[str]) -> Answer:
    status = what if not reasons else f"not {what}"
    body = json.dumps({"status": status, "reasons": list(reasons)}).encode()
    return Answer(503 if reasons else 200, "application/json", body)


def _asked(path: str, page: Callable[[], Answer]) -> Answer:
    """The page; 500 if it cannot be told: hanging up would tell neither who asks nor who reads the log."""
    try:
        return page()
    except Exception:
        log.exception("%s cannot be told", path)
        return Answer(500, "application/json", json.dumps({"status": "failed, the log says why"}).encode())


def _handler(pages: dict[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT_S
        server_version = "farandole"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            known = json.dumps({"paths": sorted(pages)}).encode()
            self._send(_asked(path, pages[path]) if path in pages else Answer(404, "application/json", known))

        do_HEAD = do_GET

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Scrapes are no events."""

    return Handler
