"""The embedded log: one SQLite file that several processes of one machine open together (DESIGN section 10).

    file       opening, checking, transactions, what has changed        bell      waking those who wait
    schema     tables and their version                                 machine   boot, clock, file systems
    catalog    topics, and where a record belongs                       keeper    retention, compaction, checkpoints
    batches    records as rows                                          groups    members and generations
    view       reading                                                  courier   plain records, from any thread
    transactions   epochs, commits, what was left open

Everything else implements the port. Each part has a connection of its own, and so do all
processes: what they share is the file, and nothing else has to be right for the log to be.
The transport is imported at its first use: who runs on Kafka needs only the class of the settings.
"""

from typing import TYPE_CHECKING

from farandole.transport.sqlite.settings import SqliteSettings, project_log

if TYPE_CHECKING:
    from farandole.transport.sqlite.transport import SqliteTransport

__all__ = ["SqliteSettings", "SqliteTransport", "project_log"]


def __getattr__(name: str) -> object:
    if name != "SqliteTransport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from farandole.transport.sqlite.transport import SqliteTransport

    return SqliteTransport
