"""The embedded log of a project: `SqliteTransport`."""

from farandole.transport.port import MemberSettings
from farandole.transport.sqlite.admin import SqliteAdmin
from farandole.transport.sqlite.edge import SqliteEdge
from farandole.transport.sqlite.member import SqliteMember
from farandole.transport.sqlite.producer import SqliteProducer
from farandole.transport.sqlite.reader import SqliteReader
from farandole.transport.sqlite.settings import SqliteSettings
from farandole.transport.sqlite.shared import Shared


class SqliteTransport:
    """A log in a file; whoever opens the same file has the same log. It is made by the first part that needs it.

    Parts raise `ConfigError` or `TransportError` when they are made, if the file cannot be used.
    """

    def __init__(self, settings: SqliteSettings) -> None:
        self.settings = settings
        self._shared = Shared(settings)

    def member(self, settings: MemberSettings) -> SqliteMember:
        """A new member."""
        return SqliteMember(self._shared, settings)

    def reader(self, client_id: str) -> SqliteReader:
        """A new reader."""
        return SqliteReader(self._shared, client_id)

    def producer(self, client_id: str) -> SqliteProducer:
        """A new plain producer."""
        return SqliteProducer(self._shared, client_id)

    def admin(self) -> SqliteAdmin:
        """A new admin client."""
        return SqliteAdmin(self._shared)

    def edge(self, client_id: str) -> SqliteEdge:
        """A new asyncio edge; call it inside a running event loop."""
        return SqliteEdge(self._shared, client_id)
