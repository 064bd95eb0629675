"""Whether a broker answers: asked through the client that the tests will use.

A listening port is not enough. A broker accepts connections before its metadata are
loaded, and an advertised address that nobody can reach shows only in the answer.
"""

import socket
import time
from collections.abc import Callable
from datetime import timedelta

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_POLL_S = 0.1


def wait_until_ready(bootstrap: str, timeout: timedelta, is_alive: Callable[[], bool] = lambda: True) -> bool:
    """Wait until the broker at `bootstrap` answers a metadata request, at most `timeout`.

    Returns False at once when `is_alive` does, that is when its process has ended.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < deadline:
        if not is_alive():
            return False
        # librdkafka writes a line to the terminal for each refused connection: ask the port first.
        if any(_accepts(address) for address in bootstrap.split(",")) and _answers(bootstrap, deadline):
            return True
        time.sleep(_POLL_S)
    return False


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now. Somebody may take one before it is used: callers try again."""
    held = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def _accepts(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdigit():
        return False
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False


def _answers(bootstrap: str, deadline: float) -> bool:
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        # A lost request is answered by the next client, so no request may use up the whole time.
        metadata = client.list_topics(timeout=min(5.0, max(0.5, deadline - time.monotonic())))
    except KafkaException:
        return False
    return bool(metadata.brokers)
