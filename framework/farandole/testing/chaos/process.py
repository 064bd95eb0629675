"""A process that can be told to die, and when: `python -m farandole.testing.chaos.process ORDERS LEDGER agent run …`.

The command line as it is, on the real client; only the producers, the reader of the restore and the wall
clock are exchanged for ones that can be meddled with.
"""

import runpy
import sys
from pathlib import Path

from farandole.testing.chaos.dying import MortalProducer, MortalReader, prepare
from farandole.testing.chaos.stepping import ClockedProducer, prepare_clock
from farandole.transport.kafka import producer, transactions
from farandole.transport.kafka.transport import KafkaTransport
from farandole.transport.port import Reader

RESTORE = ".restore"
"""How the client id of the coordinator's restoring reader ends."""

_reader = KafkaTransport.reader


def _mortal_reader(transport: KafkaTransport, client_id: str) -> Reader:
    reader: Reader = _reader(transport, client_id)
    return MortalReader(reader) if client_id.endswith(RESTORE) else reader


if __name__ == "__main__":
    orders, ledger, *arguments = sys.argv[1:]
    prepare(Path(orders), Path(ledger))
    prepare_clock(Path(orders))
    # By name: the one is imported there and not exported, the other promises its own kind of reader.
    for owner, name, mortal in (
        (transactions, "Producer", MortalProducer),
        (producer, "Client", ClockedProducer),
        (KafkaTransport, "reader", _mortal_reader),
    ):
        setattr(owner, name, mortal)
    sys.argv = ["farandole", *arguments]
    runpy.run_module("farandole.cli", run_name="__main__")
