"""Where a home stands: past what it folded, and past the markers and gaps at an end."""

from farandole.coordinator.home import Home, Refused
from farandole.transport.port import Record


def record(topic: str, offset: int) -> Record:
    """A record of home 0."""
    return Record(topic, 0, offset, b"", b"", (), 0)


def test_home_goes_to_an_end_at_once_when_nothing_is_buffered() -> None:
    home = Home(0, events_at=5, commands_at=7)

    home.ended(6, 0)

    assert home.at == (6, 7)


def test_home_remembers_an_end_told_while_records_before_it_are_buffered() -> None:
    """An end is told once: forgotten, the marker behind the last record kept the lag at 1 for ever."""
    home = Home(0, events_at=5, commands_at=7)
    home.events.extend([record("events", 5), record("events", 6)])
    home.commands.append(record("commands", 7))

    home.ended(8, 0)
    home.ended(0, 9)
    before = home.at
    home.move(7, 8)

    assert before == (5, 7)
    assert home.at == (8, 9)


def test_home_is_behind_until_it_is_told_that_markers_are_all_there_is() -> None:
    home = Home(0, events_at=5, commands_at=7, read_first=8)
    home.events.append(record("events", 5))
    home.ended(8, 0)
    before = home.is_behind

    home.move(6, 0)

    assert (before, home.is_behind) == (True, False)


def test_home_that_is_read_anew_looks_for_a_culprit_anew() -> None:
    """What arrived first was given up in its place; where only a timer was due, the process ended."""
    first = record("events", 5)
    home = Home(0, events_at=5, commands_at=7, limit=1, refused=Refused(first, "too large"))
    home.events.append(first)

    home.emptied()

    assert (home.limit, home.refused) == (0, None)


def test_home_that_is_read_anew_forgets_its_ends() -> None:
    home = Home(0, events_at=5, commands_at=7)
    home.events.append(record("events", 5))
    home.ended(8, 8)

    home.emptied()
    home.move(6, 0)

    assert home.events_at == 6
