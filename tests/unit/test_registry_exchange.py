"""Frames are exchanged by what the registry and the log know, and asked for once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta

import pytest

from farandole.clock import ManualClock
from farandole.errors import ConfigError, RegistryError, SchemaRefused, TransportError, UnknownSchema
from farandole.events.avro import Schema
from farandole.registry.exchange import READ_AGAIN, Exchange
from farandole.registry.http import HttpSettings
from farandole.testing.registry import RegistryServer, registry_server

ORDER = Schema.parse('{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"}]}')
PLAIN = ORDER.encode({"id": "o-1"})


class Rows:
    """The topic of schemas, and how often it was read."""

    def __init__(self, *schemas: Schema) -> None:
        self.schemas = list(schemas)
        self.reads = 0
        self.closed = 0

    def news(self) -> Iterable[tuple[bytes | None, bytes | None]]:
        """All rows, again and again: a registry over the log minds no repetition."""
        self.reads += 1
        return [(each.fingerprint.hex().encode(), each.text.encode()) for each in self.schemas]

    def append(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Nobody writes here."""
        raise AssertionError(rows)

    def close(self) -> None:
        """Nothing to free, but to be counted."""
        self.closed += 1


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    """A registry that knows the schema as its second."""
    with registry_server() as made:
        made.texts += ['"string"', ORDER.text]
        made.subjects["shop.Order"] = [2]
        yield made


def exchange(server: RegistryServer, rows: Rows, clock: ManualClock | None = None) -> Exchange:
    """A process that knows nothing yet."""
    return Exchange(HttpSettings(server.url, attempts_max=1), lambda: rows, clock or ManualClock())


def test_a_payload_goes_out_in_the_registrys_frame_and_comes_back(server: RegistryServer) -> None:
    rows = Rows(ORDER)
    writer, reader = exchange(server, rows), exchange(server, Rows())

    out = [writer.outbound(PLAIN) for _ in range(3)]
    back = [reader.inbound(each) for each in out]

    assert out == [b"\0\0\0\0\2" + PLAIN[10:]] * 3
    assert back == [PLAIN] * 3
    assert (len(server.asked), rows.reads) == (2, 1)


def test_state_and_texts_are_left_alone_without_a_question(server: RegistryServer) -> None:
    rows = Rows()
    ours = exchange(server, rows)
    values = [b"{}", b"\x83\xa1a", b"\xc3\x01short", b"plain text"]

    assert [ours.outbound(each) for each in values] == values
    assert [ours.inbound(each) for each in values] == values
    assert (server.asked, rows.reads) == ([], 0)


def test_a_fingerprint_that_nobody_published_is_looked_for_again_after_a_while(server: RegistryServer) -> None:
    rows, clock = Rows(), ManualClock()
    ours = exchange(server, rows, clock)

    for _ in range(3):
        with pytest.raises(UnknownSchema):
            ours.outbound(PLAIN)
    read_once = rows.reads
    clock.advance(READ_AGAIN + timedelta(seconds=1))
    rows.schemas.append(ORDER)

    assert read_once == 1
    assert ours.outbound(PLAIN)[:1] == b"\0"


def strangers(first: int, count: int) -> list[bytes]:
    """Values that begin like payloads of ours, each with a fingerprint that nobody published."""
    return [b"\xc3\x01" + n.to_bytes(8, "little") + b"rubbish" for n in range(first, first + count)]


def went_out(ours: Exchange, values: list[bytes]) -> int:
    """How many of values that were written together left in the registry's frame."""
    ours.meet(values)
    count = 0
    for each in values:
        with suppress(UnknownSchema):
            count += ours.outbound(each)[:1] == b"\0"
    return count


def test_all_that_is_written_together_costs_one_look_at_the_log_and_none_is_judged_by_an_earlier_one(
    server: RegistryServer,
) -> None:
    """The story: a loop read the whole topic for each of 500 foreign records that it dead-lettered together."""
    rows = Rows()
    ours = exchange(server, rows)

    before = went_out(ours, strangers(0, 500)), rows.reads
    rows.schemas.append(ORDER)
    after = went_out(ours, [*strangers(500, 500), PLAIN]), rows.reads

    assert (before, after) == ((0, 1), (1, 2))


def test_fingerprints_that_nobody_published_do_not_fill_the_memory(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farandole.registry.exchange.UNKNOWN_MAX", 100)
    rows = Rows()
    ours = exchange(server, rows)

    for first in range(0, 1000, 50):
        went_out(ours, strangers(first, 60))

    assert len(ours._missing) <= 100
    assert rows.reads == 20


def test_the_topic_is_closed_after_each_look(server: RegistryServer) -> None:
    """A client that was closed left an admin, a reader and a producer of Kafka's behind, each time one was made."""
    rows, clock = Rows(), ManualClock()
    ours = exchange(server, rows, clock)
    for known in ([], [ORDER]):
        rows.schemas += known
        with suppress(UnknownSchema):
            ours.outbound(PLAIN)
        clock.advance(READ_AGAIN + timedelta(seconds=1))

    assert (rows.reads, rows.closed) == (2, 2)


def test_a_registry_that_is_away_is_told_as_such_and_nothing_is_forgotten(server: RegistryServer) -> None:
    ours = exchange(server, Rows(ORDER))
    server.instead.append((503, b"{}", {}))

    with pytest.raises(TransportError):
        ours.outbound(PLAIN)

    assert ours.outbound(PLAIN)[:1] == b"\0"


def test_a_schema_of_ours_is_looked_for_before_that_of_a_stranger_is_taken_for_it(server: RegistryServer) -> None:
    """A coordinator knows no schema before it meets it: the stranger's came first, was the one of that fingerprint from
    then on, and what we wrote ourselves went out under the stranger's id too."""
    millis, micros = (
        Schema.parse(
            '{"type":"record","name":"Order","fields":[{"name":"at",'
            f'"type":{{"type":"long","logicalType":"timestamp-{unit}"}}}}]}}'
        )
        for unit in ("millis", "micros")
    )
    server.texts[:] = [millis.text, micros.text]
    server.subjects["Order"] = [1, 2]
    rows = Rows(micros)
    ours = exchange(server, rows)

    with pytest.raises(SchemaRefused, match="whose values mean something else"):
        ours.inbound(b"\0\0\0\0\1body")

    assert ours.outbound(micros.frame + b"body") == b"\0\0\0\0\2body"
    assert ours.inbound(b"\0\0\0\0\2body") == micros.frame + b"body"
    assert rows.reads == 1


@pytest.mark.parametrize("status", [400, 403, 404, 406, 422])
def test_an_id_that_the_registry_does_not_show_us_is_an_unknown_schema(server: RegistryServer, status: int) -> None:
    """A record of another team's type on an inbox, 403 for its id: it ended each process that read it, in turn."""
    ours = exchange(server, Rows())
    server.instead.append((status, b'{"error_code":40301,"message":"denied"}', {}))

    for _ in range(2):
        with pytest.raises(UnknownSchema, match="registry id 77"):
            ours.inbound(b"\0\0\0\0\x4dx")

    assert len(server.asked) == 1
    assert ours.inbound(b"\0\0\0\0\2" + PLAIN[10:]) == PLAIN


@pytest.mark.parametrize("status", [401, 408, 425, 429, 500, 501, 302])
def test_an_id_that_says_nothing_of_itself_is_asked_again(server: RegistryServer, status: int) -> None:
    ours = exchange(server, Rows())
    server.instead.append((status, b"{}", {}))

    with pytest.raises(RegistryError):
        ours.inbound(b"\0\0\0\0\2" + PLAIN[10:])

    assert ours.inbound(b"\0\0\0\0\2" + PLAIN[10:]) == PLAIN


@pytest.mark.parametrize("status", [401, 403, 422])
def test_a_registry_that_lets_a_running_writer_in_no_more_is_one_that_is_away(
    server: RegistryServer, status: int
) -> None:
    ours = exchange(server, Rows(ORDER))
    server.instead.append((status, b"{}", {}))

    with pytest.raises(RegistryError):
        ours.outbound(PLAIN)

    assert ours.outbound(PLAIN)[:1] == b"\0"


def test_a_process_that_a_registry_does_not_let_in_is_not_started(server: RegistryServer) -> None:
    server.instead.append((403, b"{}", {}))

    with pytest.raises(ConfigError, match="let in"):
        exchange(server, Rows()).require([ORDER])


def test_a_page_in_the_registrys_place_refuses_a_start_and_is_told_while_running(server: RegistryServer) -> None:
    """The page of a proxy, with status 200, was a registry that is away: a start with it was one to be tried again."""
    page = b"<html><body>Sign in</body></html>" + b" " * 10_000
    ours = exchange(server, Rows(ORDER))
    server.instead += [(200, page, {})] * 2

    with pytest.raises(ConfigError, match=r"found b'<html><body>Sign in.{,80}\. What answers there is no schema reg"):
        exchange(server, Rows()).require([ORDER])
    with pytest.raises(RegistryError, match="What answers there is no schema registry"):
        ours.outbound(PLAIN)

    assert ours.outbound(PLAIN)[:1] == b"\0"


def test_a_process_is_refused_whose_schemas_were_not_registered(server: RegistryServer) -> None:
    ours = exchange(server, Rows())
    ours.require([ORDER])
    server.subjects.clear()

    with pytest.raises(ConfigError, match=r"Run `farandole apply` with the same \[registry\]"):
        exchange(server, Rows()).require([ORDER])


def test_publish_registers(server: RegistryServer) -> None:
    server.texts.clear()
    server.subjects.clear()

    exchange(server, Rows()).publish([ORDER])

    assert (server.texts, server.subjects) == ([ORDER.text], {"shop.Order": [1]})
