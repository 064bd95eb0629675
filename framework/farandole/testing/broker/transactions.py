"""What state a transaction is in as its broker sees it, asked without any client: tests aim their kills by it."""

import socket
import struct

DESCRIBE_TRANSACTIONS = 65
"""Kafka's API key (KIP-664), which confluent-kafka does not speak."""

ONGOING = "Ongoing"
"""The state of a transaction that was begun and not ended."""


def transaction_state(bootstrap: str, transactional_id: str) -> str:
    """`DescribeTransactions` v0, asked of the first broker; what it does not coordinate is unknown to it.

    `Ongoing`, `Empty`, `CompleteCommit`, …; empty if unknown.

    Raises:
        OSError: the broker does not answer.
    """
    name = transactional_id.encode()
    assert len(name) < 127
    body = struct.pack(">hhih", DESCRIBE_TRANSACTIONS, 0, 1, -1) + bytes([0, 2, len(name) + 1]) + name + b"\0"
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(struct.pack(">i", len(body)) + body)
        answer = link.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        data = answer.read(size)
    # Correlation id, tags, throttle time; then an array of one: error, id, state.
    (error,) = struct.unpack_from(">h", data, 10)
    at = 12 + data[12]
    return data[at + 1 : at + data[at]].decode() if error == 0 else ""
