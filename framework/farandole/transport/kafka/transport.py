"""`KafkaTransport`: makes the parts that talk to one cluster."""

from typing import TYPE_CHECKING

from farandole.transport.kafka.admin import KafkaAdmin
from farandole.transport.kafka.member import KafkaMember
from farandole.transport.kafka.producer import KafkaProducer
from farandole.transport.kafka.reader import KafkaReader
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import MemberSettings

if TYPE_CHECKING:
    from farandole.transport.kafka.edge import KafkaEdge


class KafkaTransport:
    """Implements `Transport`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings

    def member(self, settings: MemberSettings) -> KafkaMember:
        """A new member.

        Raises:
            ConfigError: the settings are outside the bounds of R14.
        """
        return KafkaMember(self.settings, settings)

    def reader(self, client_id: str) -> KafkaReader:
        """A new reader."""
        return KafkaReader(self.settings, client_id)

    def producer(self, client_id: str) -> KafkaProducer:
        """A new plain producer."""
        return KafkaProducer(self.settings, client_id)

    def admin(self) -> KafkaAdmin:
        """A new admin client."""
        return KafkaAdmin(self.settings, "farandole.admin")

    def edge(self, client_id: str) -> "KafkaEdge":
        """A new asyncio edge."""
        # Here, because agents and coordinators need no aiokafka, and it takes a while to import.
        from farandole.transport.kafka.edge import KafkaEdge

        return KafkaEdge(self.settings, client_id)
