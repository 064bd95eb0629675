"""JSON over HTTP to a registry: bounded, repeated where that can help, and never redirected.

The environment's proxies are not used (nothing below the command line reads the
environment), and credentials never follow a redirect to another host. Knows nothing of
what is asked.
"""

import base64
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from farandole.errors import ConfigError, RegistryError

ANSWER_BYTES_MAX = 2_097_152
"""Largest answer read, bytes: the largest schema text (256 KiB), escaped at its worst, with room."""

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same question may be asked again. Source: RFC 9110, RFC 6585."""

SHOWN_BYTES = 80
"""Of an answer that is none of a registry, in the error about it: enough to tell a proxy's page."""

_CONTENT = "application/vnd.schemaregistry.v1+json"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where a registry is and how patient we are with it: `[registry]` of `farandole.toml`."""

    url: str
    """`http(s)://host[:port][/path]`, without credentials."""

    user: str = ""
    """For HTTP basic authentication; empty for none."""

    password: str = field(default="", repr=False)
    """Of `user`."""

    ca: str = ""
    """File of the authorities that its certificate may come from, PEM; empty for the system's."""

    certificate: str = ""
    """File of our own certificate for mTLS, PEM."""

    key: str = ""
    """File of the key of `certificate`, PEM; empty if it stands in the same file."""

    timeout: timedelta = timedelta(seconds=10)
    """Longest wait for one answer."""

    attempts_max: int = 5
    """How often a command asks before it gives up. Running processes ask once, and again with the next records."""

    wait: timedelta = timedelta(milliseconds=200)
    """Before the second attempt; doubles with each."""

    wait_max: timedelta = timedelta(seconds=5)
    """Longest wait between two attempts."""

    def __post_init__(self) -> None:
        """Refuse what could not work.

        Raises:
            ConfigError: the address is no http or https address, could not be sent, or carries credentials.
        """
        try:
            parts = urlsplit(self.url)
            _ = parts.port, (parts.hostname or "").encode("idna")
        except ValueError:  # its text may have the credentials in it
            raise ConfigError(
                "registry url: expected http(s)://host[:port], but its host or port is none; "
                "an IPv6 address stands in brackets, as in http://[::1]:8081"
            ) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"registry url: expected http(s)://host[:port], but found scheme {parts.scheme!r}")
        if parts.username is not None:
            raise ConfigError("registry url: expected no credentials in the address; give `user` and `password`")
        if not re.fullmatch("[!-~]+", self.url):
            raise ConfigError(
                f"registry url: expected ASCII without spaces, but found {self.url!r:.200}; other characters are "
                "written as %XX in a path, and as xn--… in a host"
            )
        if self.attempts_max < 1:
            raise ConfigError(f"registry attempts_max: expected at least 1, but found {self.attempts_max}")

    def tls(self) -> ssl.SSLContext | None:
        """How its certificate is checked, and ours shown; None for plain http.

        Raises:
            ConfigError: a file is missing, or is not PEM.
        """
        if urlsplit(self.url).scheme != "https":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except OSError as bad:
            raise ConfigError(f"registry ca, certificate, key: expected files in PEM format, but {bad}") from None
        return context


class Refused(Exception):  # noqa: N818 - internal to this package; becomes an error of the tree
    """The registry answered, and said no: HTTP status, its own code, its message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{status}/{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class Forbidden(ConfigError):
    """It knows who we are and does not show us this; other questions may be answered."""


class TooLarge(RegistryError):
    """The answer to this question is more than we read; it would be the next time."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class JsonHttp:
    """Asks a registry; one question at a time."""

    def __init__(self, settings: HttpSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        """Connects to nothing yet; `sleep` is for tests."""
        self._settings = settings
        self._sleep = sleep
        handlers = [urllib.request.ProxyHandler({}), _NoRedirect(), urllib.request.HTTPSHandler(context=settings.tls())]
        self._open = urllib.request.build_opener(*handlers).open

    def ask(self, method: str, path: str, body: object = None) -> object:
        """The JSON answer to a question.

        Raises:
            Refused: the registry said no, and asking again would not help.
            ConfigError: it does not accept who we are, `Forbidden` if it may be this question alone; or what answers
                is no registry.
            TransportError: it was not reached, or gave no usable answer, in all attempts.
        """
        wait = self._settings.wait
        problem = ""
        for attempt in range(self._settings.attempts_max):
            if attempt:
                self._sleep(wait.total_seconds())
                wait = min(2 * wait, self._settings.wait_max)
            try:
                return self._once(method, path, body)
            except Refused as no:
                if no.status not in AGAIN:
                    raise
                problem = str(no)
            except (OSError, http.client.HTTPException) as bad:
                problem = f"{type(bad).__name__}: {bad}"
        raise RegistryError(
            f"registry {self._settings.url}: expected an answer to {method} {path}, but after "
            f"{self._settings.attempts_max} attempts: {problem}"
        )

    def _once(self, method: str, path: str, body: object) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._settings.url.rstrip("/") + path, data=data, method=method)
        request.add_header("Accept", f"{_CONTENT}, application/json")
        if data is not None:
            request.add_header("Content-Type", _CONTENT)
        if self._settings.user:
            pair = f"{self._settings.user}:{self._settings.password}".encode()
            request.add_header("Authorization", "Basic " + base64.b64encode(pair).decode())
        try:
            with self._open(request, timeout=self._settings.timeout.total_seconds()) as answer:
                return self._parsed(answer.read(ANSWER_BYTES_MAX + 1))
        except urllib.error.HTTPError as error:
            with error:
                raise self._no(error) from None

    def _no(self, error: urllib.error.HTTPError) -> Exception:
        if error.code in (401, 403):
            kind = Forbidden if error.code == 403 else ConfigError
            return kind(f"registry {self._settings.url}: expected to be let in, but it answered {error.code}")
        try:
            told = json.loads(error.read(ANSWER_BYTES_MAX))
            return Refused(error.code, int(told["error_code"]), str(told["message"])[:500])
        except (ValueError, TypeError, LookupError, OSError):
            return Refused(error.code, error.code, str(error.reason)[:500])

    def _parsed(self, answer: bytes) -> object:
        if len(answer) > ANSWER_BYTES_MAX:
            raise TooLarge(f"registry {self._settings.url}: expected at most {ANSWER_BYTES_MAX} bytes of answer")
        try:
            parsed: object = json.loads(answer)
        except (ValueError, RecursionError):
            raise ConfigError(
                f"registry {self._settings.url}: expected JSON, but found {answer[:SHOWN_BYTES]!r}. What answers there "
                "is no schema registry, or a proxy before one; see url in [registry]"
            ) from None
        return parsed
