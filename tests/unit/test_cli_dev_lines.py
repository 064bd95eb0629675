"""Lines on their way to the screen: in order, bounded, and nobody who ends is waited for."""

import threading

from farandole.cli.dev.lines import AT_ONCE, Lines

NOW = 0.0
PATIENCE_S = 25.0


def test_lines_come_in_order_and_a_few_at_once() -> None:
    lines: Lines[int] = Lines()
    for number in range(AT_ONCE + 1):
        lines.put(number)

    first, second, third = (lines.take(NOW) for _ in range(3))

    assert first == list(range(AT_ONCE))
    assert second == [AT_ONCE]
    assert third == []


def test_line_in_turn_waits_until_there_is_room_and_one_that_must_not_wait_does_not() -> None:
    lines: Lines[str] = Lines(room=1)
    lines.put_in_turn("first")
    second = threading.Thread(target=lines.put_in_turn, args=("second",), daemon=True)
    second.start()

    lines.put("at once")
    before = lines.take(PATIENCE_S)
    second.join(PATIENCE_S)

    assert before == ["first", "at once"]
    assert lines.take(PATIENCE_S) == ["second"]


def test_many_lines_of_one_who_says_more_than_is_shown_never_stand_there_together() -> None:
    lines: Lines[int] = Lines(room=3)

    def say() -> None:
        for number in range(100):
            lines.put_in_turn(number)

    threading.Thread(target=say, daemon=True).start()
    taken: list[list[int]] = []
    while sum(map(len, taken)) < 100:
        taken.append(lines.take(PATIENCE_S))

    assert [number for some in taken for number in some] == list(range(100))
    assert max(map(len, taken)) <= 3


def test_nobody_waits_for_room_once_it_is_closed() -> None:
    lines: Lines[int] = Lines(room=1)
    lines.put_in_turn(1)
    waiting = threading.Thread(target=lines.put_in_turn, args=(2,), daemon=True)
    waiting.start()

    left = lines.close()
    waiting.join(PATIENCE_S)
    lines.put_in_turn(3)
    lines.put_in_turn(4)

    assert not waiting.is_alive()
    assert sorted([*left, *lines.close()]) == [1, 2, 3, 4]
