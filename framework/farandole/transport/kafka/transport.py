"""`KafkaTransport`: makes the parts that talk to one cluster."""

from farandole.transport.kafka.admin import KafkaAdmin
from farandole.transport.kafka.edge import KafkaEdge
from farandole.transport.kafka.member import KafkaMember
from farandole.transport.kafka.placing import Placing
from farandole.transport.kafka.producer import KafkaProducer
from farandole.transport.kafka.reader import KafkaReader
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import MemberSettings


class KafkaTransport:
    """Implements `Transport`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._placing = Placing()

    def member(self, settings: MemberSettings) -> KafkaMember:
        """A new member."""
        return KafkaMember(self.settings, settings, self._placing)

    def reader(self, client_id: str) -> KafkaReader:
        """A new reader."""
        return KafkaReader(self.settings, client_id)

    def producer(self, client_id: str) -> KafkaProducer:
        """A new plain producer."""
        return KafkaProducer(self.settings, client_id, self._placing)

    def admin(self) -> KafkaAdmin:
        """A new admin client."""
        return KafkaAdmin(self.settings, "farandole.admin")

    def edge(self, client_id: str) -> KafkaEdge:
        """A new asyncio edge."""
        return KafkaEdge(self.settings, client_id)
