"""Keep a test broker running for a terminal: `python -m farandole.testing.broker`.

Prints the line that makes other terminals use it, and stops it when its own input ends or on Ctrl-C.
"""

import contextlib
import sys

from farandole.testing.broker.handle import NoBroker
from farandole.testing.broker.ladder import start_broker


def main() -> int:
    """Start a broker, say where it is, wait."""
    try:
        broker = start_broker()
    except NoBroker as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    with broker, contextlib.suppress(KeyboardInterrupt):
        for line in broker.passed:
            sys.stderr.write(f"passed over {line}\n")
        sys.stdout.write(f"export FARANDOLE_TEST_BOOTSTRAP={broker.bootstrap}\n")
        sys.stdout.flush()
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
