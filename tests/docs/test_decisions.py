"""Decisions that give figures of the code give those of today."""

from pathlib import Path

from farandole.transport.kafka.settings import RETRY_BACKOFF_MS
from farandole.transport.kafka.transactions import BREATH, COMMIT_SUSPECT, OFFSETS_SUSPECT

DECISIONS = Path(__file__).parents[2] / "docs" / "decisions"


def test_the_one_on_kafka_clients_has_the_limits_by_which_a_producer_is_replaced() -> None:
    """It went on saying 250 ms when the back-off was 100 again."""
    text = (DECISIONS / "0037-kafka-clients-as-they-are.md").read_text()

    assert f"`retry.backoff.ms={RETRY_BACKOFF_MS}`" in text
    assert f"a commit or an abort took {COMMIT_SUSPECT * 1000:.0f} ms" in text
    assert f"or sending positions {OFFSETS_SUSPECT * 1000:.0f} ms" in text
    assert f"until {BREATH * 1000:.0f} ms after the commit" in text
