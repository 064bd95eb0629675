"""A foreign consumer: a Faust application reads `events` with what its headers and values say to anyone."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from farandole.events.facts import StepSucceeded
from farandole.events.outgoing import Origin, event_record
from farandole.events.topics import Topics
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.outgoing import new_record
from farandole.transport.port import TopicSpec

READER = Path(__file__).parent / "foreign" / "faust_reader.py"
EVENTS = 5


@pytest.mark.timeout(120)
def test_a_faust_application_reads_events_by_their_headers(kafka: str, unique: str, tmp_path: Path) -> None:
    topics, transport = Topics(unique), KafkaTransport(KafkaSettings(kafka))
    transport.admin().create([TopicSpec(topics.events, 2)])
    origin = Origin("shop/orders/0", datetime.now(UTC), agent="pack")
    facts = [StepSucceeded(f"run-{n}", "pack", 1, b"framed") for n in range(EVENTS)]
    producer = transport.producer(f"{unique}.writer")
    for fact in facts:
        record = event_record(topics, fact, event_id=f"{fact.run}/pack/0/-/1/StepSucceeded", cause="c", origin=origin)
        producer.send(new_record(record, 2))
    assert producer.flush(20) == 0

    command = [sys.executable, "-W", "ignore", str(READER), kafka, topics.events, str(EVENTS), str(tmp_path)]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    read = [json.loads(line) for line in (tmp_path / "read.jsonl").read_text().splitlines()]
    assert {each["ce_run"] for each in read} == {fact.run for fact in facts}
    assert {(each["ce_type"], each["ce_step"], each["ce_agent"]) for each in read} == {
        ("farandole.StepSucceeded", "pack", "pack")
    }
    assert all(each["bytes"] > len(b"framed") for each in read)
