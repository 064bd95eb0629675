"""A process that can be told to die: `python -m farandole.testing.chaos.process ORDERS LEDGER agent run …`.

The command line as it is, on the real client; only the producer and the reader of the restore are
exchanged for ones with places to die.
"""

import runpy
import sys
from pathlib import Path

from farandole.testing.chaos.dying import MortalProducer, MortalReader, prepare
from farandole.transport.kafka import transactions
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
    # By name: the one is imported there and not exported, the other promises its own kind of reader.
    for owner, name, mortal in ((transactions, "Producer", MortalProducer), (KafkaTransport, "reader", _mortal_reader)):
        setattr(owner, name, mortal)
    sys.argv = ["farandole", *arguments]
    runpy.run_module("farandole.cli", run_name="__main__")
