"""A run's tree for a terminal, and the same as plain data for `--json`.

Items that went alike share a line, so that a map of a thousand is read at a glance. Knows
nothing of colours or widths.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta

from farandole.events.envelope import rfc3339
from farandole.lineage.tree import Branch, Tree, Try, Work

DETAIL_MAX = 160
"""Characters of an error on its line; the fact on the log has all of it."""

_TRY_WORDS = {"open": "no report yet"}
_WORK_WORDS = {"open": "under way", "retrying": "waits for its next attempt", "dead_letter": "dead-lettered"}
_UNTOLD = dict.fromkeys(("open", "retrying"), "not reported")

Node = tuple[str, "list[Node]"]
"""A line and the lines below it."""


def render(tree: Tree) -> str:
    """The tree as text, without a line end."""
    lines = [_head(tree)]
    below: list[Node] = [(f"refused: {each}", []) for each in tree.refusals]
    below += [(mark, []) for mark in tree.marks]
    below += [_branch(_as_ended(each) if tree.outcome else each) for each in tree.branches]
    lines.extend(_drawn(below, ""))
    return "\n".join(lines)


def to_data(thing: object) -> object:
    """The tree as what JSON can hold: instants as RFC 3339, durations as seconds, everything else by its name."""
    if is_dataclass(thing) and not isinstance(thing, type):
        return {each.name: to_data(getattr(thing, each.name)) for each in fields(thing)}
    if isinstance(thing, datetime):
        return rfc3339(thing)
    if isinstance(thing, timedelta):
        return round(thing.total_seconds(), 6)
    if isinstance(thing, tuple | list):
        return [to_data(each) for each in thing]
    return thing


def _drawn(nodes: Sequence[Node], indent: str) -> Iterator[str]:
    for n, (line, below) in enumerate(nodes):
        last = n == len(nodes) - 1
        yield f"{indent}{'└─ ' if last else '├─ '}{line}"
        yield from _drawn(below, indent + ("   " if last else "│  "))


def _head(tree: Tree) -> str:
    parts = [f"run {tree.run}"]
    if tree.pipeline:
        parts.append(tree.pipeline)
    if tree.outcome:
        parts.append(tree.outcome + (f" ({tree.reason})" if tree.reason else ""))
    elif tree.started is not None:
        parts.append("not ended")
    else:
        parts.append("refused" if tree.refusals else "no start on the log")
    if tree.started is not None and tree.ended is not None:
        parts.append(f"in {duration_text(tree.ended - tree.started)}")
    if tree.asked:
        parts.append(f"asked by {', '.join(tree.asked)}")
    return "  ".join(parts)


def _branch(it: Branch) -> Node:
    below: list[Node] = []
    if it.items is None:
        work = it.works[0]
        line = _line([it.step, *_work_words(work), *_short(work), *_joined(it)])
        below.extend(_tries(work))
    else:
        spread = _spread(one for work in it.works for one in work.tries)
        line = _line([f"{it.step} [{_count(it.items)}]", _WORK_WORDS.get(it.outcome, it.outcome), spread, *_joined(it)])
        below.extend(_groups(it.works))
    below.extend(_branch(each) for each in it.children)
    return line, below


def _as_ended(it: Branch) -> Branch:
    """A branch of a run that ended: nothing of it is under way or waits any more, and nobody says how it went."""
    works = tuple(
        replace(
            work,
            outcome=_UNTOLD.get(work.outcome, work.outcome),
            tries=tuple(replace(one, outcome=_UNTOLD.get(one.outcome, one.outcome)) for one in work.tries),
        )
        for work in it.works
    )
    outcome = _UNTOLD.get(it.outcome, it.outcome)
    return replace(it, outcome=outcome, works=works, children=tuple(map(_as_ended, it.children)))


def _line(parts: Iterable[str]) -> str:
    return "  ".join(part for part in parts if part)


def _count(items: int) -> str:
    return "1 item" if items == 1 else f"{items} items"


def _joined(it: Branch) -> list[str]:
    words = [f"goes on from {it.follows}"] if it.follows else []
    return [*words, f"joins {', '.join(it.joins)}"] if it.joins else words


def _work_words(work: Work) -> list[str]:
    word = _WORK_WORDS.get(work.outcome, work.outcome)
    reason = f"{word}: {work.reason}" if work.outcome in ("skipped", "dead_letter", "cancelled") else word
    return [reason, f"{len(work.tries)} attempts" if len(work.tries) > 1 else ""]


def _short(work: Work) -> list[str]:
    """A single attempt that simply went is told on the line of its step."""
    if len(work.tries) != 1 or not _is_plain(work.tries[0]):
        return []
    only = work.tries[0]
    return [_took(only), f"by {only.fired_by}", *_published(only)]


def _is_plain(one: Try) -> bool:
    return one.outcome != "failed" and not one.dead_letter and not one.replayed_by


def _tries(work: Work) -> list[Node]:
    if len(work.tries) == 1 and _is_plain(work.tries[0]):
        return []
    return [(_line(_try_parts(one)), []) for one in work.tries]


def _try_parts(one: Try) -> Iterator[str]:
    yield f"attempt {one.number}"
    yield _TRY_WORDS.get(one.outcome, one.outcome)
    yield _took(one)
    yield f"by {one.fired_by}"
    yield _cut(one.detail)
    if one.replayed_by:
        yield f"replay asked by {one.replayed_by}"
    if one.dead_letter:
        yield f"dead letter {one.dead_letter}"
    yield from _published(one)


def _took(one: Try) -> str:
    return "" if one.duration is None else duration_text(one.duration)


def _published(one: Try) -> list[str]:
    return [f"published {', '.join(one.published)}"] if one.published else []


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= DETAIL_MAX else flat[: DETAIL_MAX - 1] + "…"


def _groups(works: Sequence[Work]) -> list[Node]:
    """Items that went alike, in the order of the first of each kind; a single kind of plain items says nothing new."""
    alike: dict[object, list[Work]] = defaultdict(list)
    for work in works:
        alike[_likeness(work)].append(work)
    if len(alike) == 1 and all(len(w.tries) == 1 and _is_plain(w.tries[0]) and w.outcome == "succeeded" for w in works):
        return []
    return [_group(group) for group in alike.values()]


def _likeness(work: Work) -> object:
    tries = tuple((one.outcome, one.fired_by, one.detail, bool(one.dead_letter), one.replayed_by) for one in work.tries)
    return work.outcome, work.reason, tries


def _group(works: Sequence[Work]) -> Node:
    name = "item" if len(works) == 1 else "items"
    first = works[0]
    spread = _spread(one for work in works for one in work.tries)
    if len(works) == 1:
        return _line([f"{name} {first.item}", *_work_words(first), *_short(first)]), _tries(first)
    below: list[Node] = [(_line(_shared_parts([w.tries[n] for w in works])), []) for n in range(len(first.tries))]
    line = _line([f"{name} {ranges([w.item for w in works])}", *_work_words(first), spread])
    return line, [] if len(below) == 1 and _is_plain(first.tries[0]) else below


def _shared_parts(tries: Sequence[Try]) -> Iterator[str]:
    """One attempt of several items that went alike."""
    first = tries[0]
    yield f"attempt {first.number}"
    yield _TRY_WORDS.get(first.outcome, first.outcome)
    yield _spread(tries)
    yield f"by {first.fired_by}"
    yield _cut(first.detail)
    if first.dead_letter:
        yield f"{len(tries)} dead letters"


def _spread(tries: Iterable[Try]) -> str:
    durations = [one.duration for one in tries if one.duration is not None]
    if not durations:
        return ""
    low, high = duration_text(min(durations)), duration_text(max(durations))
    return low if low == high else f"{low} to {high}"


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in ascending order as ranges: `0-13, 15-30`."""
    out: list[list[int]] = []
    for number in numbers:
        if out and number == out[-1][1] + 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in out)


def duration_text(duration: timedelta) -> str:
    """Three figures at most: `7 ms`, `1.25 s`, `3 min 20 s`, `2 h 5 min`."""
    ms = round(duration.total_seconds() * 1000)
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.3g} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
