"""What state a transaction is in as its broker sees it, asked without any client: tests aim their kills by it."""

import socket
import struct

DESCRIBE_TRANSACTIONS = 65
"""Kafka's API key (KIP-664), which confluent-kafka does not speak."""

ONGOING = "Ongoing"
"""The state of a transaction that was begun and not ended."""


def transaction_state(bootstrap: str, transactional_id: str) -> str:
    """`DescribeTransactions` v0, asked of each broker in turn: only the one that coordinates the id knows it.

    `Ongoing`, `Empty`, `CompleteCommit`, …; empty if unknown.

    Raises:
        OSError: none of the brokers answers.
    """
    troubles: list[OSError] = []
    addresses = bootstrap.split(",")
    for address in addresses:
        try:
            if state := _state(address, transactional_id):
                return state
        except OSError as trouble:
            troubles.append(trouble)
    if len(troubles) == len(addresses):
        raise troubles[0]
    return ""


def _state(address: str, transactional_id: str) -> str:
    name = transactional_id.encode()
    assert len(name) < 127
    body = struct.pack(">hhih", DESCRIBE_TRANSACTIONS, 0, 1, -1) + bytes([0, 2, len(name) + 1]) + name + b"\0"
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(struct.pack(">i", len(body)) + body)
        answer = link.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4).ljust(4, b"\0"))  # it may die in the midst of its answer
        if size == 0:
            return ""
        data = answer.read(size)
    # Correlation id, tags, throttle time; then an array of one: error, id, state.
    (error,) = struct.unpack_from(">h", data, 10)
    at = 12 + data[12]
    return data[at + 1 : at + data[at]].decode() if error == 0 else ""
