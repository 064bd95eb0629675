"""A small registry that answers as Confluent's does, for tests: in this process, on a free port, over TLS if asked.

    with registry_server() as server:
        HttpSettings(server.url)

Knows schemas by id and subject, refuses nothing, and remembers what it was asked.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass
class RegistryServer:
    """What the server holds, what it was asked, and what it is to answer instead of the truth."""

    url: str = ""
    texts: list[str] = field(default_factory=list)
    """Schemas; the id of each is its place, counted from 1."""

    subjects: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorization: list[str | None] = field(default_factory=list)
    instead: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    """Status, body and headers of the next answers."""

    def answer(self, method: str, path: str, body: dict[str, str]) -> tuple[int, object]:
        """As the Confluent registry answers."""
        match method, [unquote(part) for part in path.strip("/").split("/")]:
            case "POST", ["subjects", subject, "versions"]:
                if body["schema"] not in self.texts:
                    self.texts.append(body["schema"])
                number = self.texts.index(body["schema"]) + 1
                if number not in self.subjects.setdefault(subject, []):
                    self.subjects[subject].append(number)
                return 200, {"id": number}
            case "POST", ["subjects", subject]:
                if body["schema"] in self.texts and subject in self.subjects:
                    return 200, {"id": self.texts.index(body["schema"]) + 1, "schema": body["schema"], "version": 1}
                return 404, {"error_code": 40403, "message": "Schema not found"}
            case "GET", ["subjects", subject, "versions", "latest"] if subject in self.subjects:
                number = self.subjects[subject][-1]
                return 200, {"id": number, "schema": self.texts[number - 1]}
            case "GET", ["schemas", "ids", number] if 0 < int(number) <= len(self.texts):
                return 200, {"schema": self.texts[int(number) - 1]}
        return 404, {"error_code": 40401, "message": "not found"}


@contextmanager
def registry_server(tls: ssl.SSLContext | None = None) -> Iterator[RegistryServer]:
    """Start one; it ends with the context. With `tls` its address is `https://localhost:PORT`."""
    registry, lock = RegistryServer(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            with lock:
                status, raw, headers = self._answered(body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def _answered(self, body: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
            registry.asked.append(f"{self.command} {self.path}")
            registry.authorization.append(self.headers.get("Authorization"))
            if registry.instead:
                return registry.instead.pop(0)
            status, answer = registry.answer(self.command, self.path, body)
            return status, json.dumps(answer).encode(), {}

        do_GET = do_POST = _reply

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        port = http.server_address[1]
        registry.url = f"http://127.0.0.1:{port}"
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
            registry.url = f"https://localhost:{port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield registry
        finally:
            http.shutdown()
            thread.join()
