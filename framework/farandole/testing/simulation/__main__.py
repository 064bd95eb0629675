"""`python -m farandole.testing.simulation FROM TO`: seeds in a row, what was violated, what was seen."""

import logging
import sys
import time
from collections import Counter

from farandole.testing.simulation.checks import violations
from farandole.testing.simulation.world import World


def main() -> int:
    """Seeds from the command line; the exit code says whether any was violated."""
    logging.disable(logging.CRITICAL)
    first, last = int(sys.argv[1]), int(sys.argv[2])
    began, rare, kinds, bad = time.monotonic(), Counter[str](), Counter[str](), 0
    for seed in range(first, last):
        world = World(seed)
        try:
            found = [] if world.live() else [f"stuck: {sorted(set(world.clients.runs) - set(world.clients.ended))}"]
            found += map(str, violations(world))
        finally:
            world.close()
        rare += world.rare
        kinds += Counter(world.clients.ended.values())
        if found:
            bad += 1
            _say(f"seed {seed}: {len(found)} violations; {found[0]}")
    spent = time.monotonic() - began
    _say(f"seeds={last - first} violated={bad} seconds={spent:.0f} outcomes={dict(kinds)}")
    _say(f"seen={dict(sorted(rare.items()))}")
    return min(bad, 1)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
