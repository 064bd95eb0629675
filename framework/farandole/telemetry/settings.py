"""What a process shows of itself over HTTP."""

from dataclasses import dataclass
from datetime import timedelta

from farandole.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Metrics and health of `agent run` and `coordinator run`: `[metrics]` of `farandole.toml`."""

    listen: str | None = None
    """`host:port` of `/metrics` and `/health`; without it nothing is served. `:9464` is every interface. `dev`
    listens nowhere, so that no port is in its way."""

    live_within: timedelta = timedelta(seconds=30)
    """Without a step for so long a process is not live: a step waits a second at most."""

    stale_after: timedelta = timedelta(hours=24)
    """A live run older than this counts as stale; longer than the longest by design."""

    def __post_init__(self) -> None:
        """Refuse what would call every process dead, or every run stale, and an address that is none.

        Raises:
            ConfigError: naming the setting.
        """
        if self.listen is not None:
            parse_address(self.listen, "listen")
        for name, value in (("live_within", self.live_within), ("stale_after", self.stale_after)):
            if value <= timedelta():
                raise ConfigError(f"{name}: expected a duration above zero, but found {value.total_seconds():g} s")


def parse_address(address: str, setting: str = "metrics.listen") -> tuple[str, int]:
    """Host and port of `host:port`, `[v6]:port` or `:port` (every interface); `setting` is what is refused.

    Raises:
        ConfigError: it is none of these.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port[:6]) > 65535 or (":" in host and not host.startswith("[")):
        raise ConfigError(f"{setting}: expected HOST:PORT such as 127.0.0.1:9464, but found {address!r}")
    return host.strip("[]"), int(port)
