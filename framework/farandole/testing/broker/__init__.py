"""A real Kafka broker for tests, from whatever this machine has.

    with start_broker() as broker:
        client = AdminClient({"bootstrap.servers": broker.bootstrap})

Three tiers are tried in order: a broker that somebody else runs
(`FARANDOLE_TEST_BOOTSTRAP`), Java with Maven, Docker. `broker.how` says which one
answered and `broker.passed` why the others did not; when none does, `NoBroker` lists
every reason. `python -m farandole.testing.broker` keeps one running for a terminal.
"""

from farandole.testing.broker.handle import Broker, BrokerControl, BrokerNotOurs, NoBroker, TierUnavailable
from farandole.testing.broker.ladder import TIERS, Tier, start_broker
from farandole.testing.broker.rendezvous import Rendezvous
from farandole.testing.broker.settings import COORDINATION_LOG, KAFKA_VERSION, QUICK_RESTART, BrokerSettings

__all__ = [
    "COORDINATION_LOG",
    "KAFKA_VERSION",
    "QUICK_RESTART",
    "TIERS",
    "Broker",
    "BrokerControl",
    "BrokerNotOurs",
    "BrokerSettings",
    "NoBroker",
    "Rendezvous",
    "Tier",
    "TierUnavailable",
    "start_broker",
]
