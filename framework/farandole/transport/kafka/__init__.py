"""The log on Kafka: confluent-kafka for all that is transactional or read, aiokafka for sending from asyncio (R1)."""

from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.transport import KafkaTransport

__all__ = ["KafkaSettings", "KafkaTransport"]
