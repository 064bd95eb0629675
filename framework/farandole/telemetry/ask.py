"""A container's health check: `python -m farandole.telemetry.ask URL` ends with 0 if the answer is 200, else says why.

For images that have neither curl nor wget.
"""

import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0
"""Below the 5 s that the image's health check allows, so that the reason is told and not cut off."""


def ask(url: str) -> tuple[bool, str]:
    """Whether the answer is 200, and what it says."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.status == 200, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as refused:
        with refused:
            return False, refused.read().decode(errors="replace")
    except (OSError, ValueError) as bad:
        return False, f"{url}: expected an answer, but {bad}"


if __name__ == "__main__":
    is_well, said = ask(sys.argv[1])
    sys.stdout.write(said + "\n")
    sys.exit(not is_well)
