"""`python -m farandole.testing.twin FROM TO [STAGE]`: seeds in a row against the log in memory.

Without a stage, `kafka`: on a broker that is started for it, or the one of `FARANDOLE_TEST_BOOTSTRAP`.
"""

import sys
import time
from contextlib import ExitStack

from farandole.testing.broker import start_broker
from farandole.testing.twin.compare import STAGES, difference


def main() -> int:
    """Seeds from the command line; the exit code says whether any was answered differently."""
    first, last = int(sys.argv[1]), int(sys.argv[2])
    name = sys.argv[3] if len(sys.argv) > 3 else "kafka"
    began, different = time.monotonic(), 0
    with ExitStack() as stack:
        address = stack.enter_context(start_broker()).bootstrap if name == "kafka" else ""
        for seed in range(first, last):
            found = difference(seed, lambda: STAGES[name](address), say=_say)
            different += bool(found)
            if found:
                _say(found)
    _say(f"seeds={last - first} stage={name} different={different} seconds={time.monotonic() - began:.0f}")
    return min(different, 1)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
