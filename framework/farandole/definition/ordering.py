"""The canonical order of steps: parents first, names where parents leave a choice.

So two front ends that list the same graph differently give one definition.
"""

import heapq
from collections.abc import Mapping, Set


def topological(parents: Mapping[str, Set[str]]) -> list[str]:
    """The names, each after its parents; those on or behind a cycle are left out. Every parent must be a key."""
    missing = {name: len(above) for name, above in parents.items()}
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, above in parents.items():
        for parent in above:
            children[parent].append(name)
    ready = [name for name, count in missing.items() if not count]
    heapq.heapify(ready)
    ordered: list[str] = []
    while ready:
        name = heapq.heappop(ready)
        ordered.append(name)
        for child in children[name]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, child)
    return ordered


def cycle(parents: Mapping[str, Set[str]], ordered: list[str]) -> list[str]:
    """One cycle among the names that are not `ordered`, in the direction of the edges, its first name also last."""
    rest = set(parents) - set(ordered)
    way: list[str] = []
    seen: dict[str, int] = {}
    name = min(rest)
    while name not in seen:
        seen[name] = len(way)
        way.append(name)
        name = min(parents[name] & rest)
    found = way[seen[name] :][::-1]
    first = found.index(min(found))
    found = found[first:] + found[:first]
    return [*found, found[0]]
