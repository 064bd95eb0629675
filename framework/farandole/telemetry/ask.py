"""A container's health check: `python -m farandole.telemetry.ask URL` ends with 0 if the answer is 200, else says why.

For images that have neither curl nor wget. It asks no proxy, whatever `http_proxy` says: it is its own process
that is asked.
"""

import sys
import urllib.error
import urllib.request
from http.client import HTTPException

TIMEOUT_S = 4.0
"""Below the 5 s that the image's health check allows, so that the reason is told and not cut off."""


def ask(url: str) -> tuple[bool, str]:
    """Whether the answer is 200, and what it says."""
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with straight.open(url, timeout=TIMEOUT_S) as answer:
            return answer.status == 200, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as refused:
        with refused:
            return False, refused.read().decode(errors="replace")
    except HTTPException as bad:  # what answers is something else
        return False, f"{url}: expected an answer, but {type(bad).__name__}: {str(bad).strip()}"
    except (OSError, ValueError) as bad:
        return False, f"{url}: expected an answer, but {bad}"


if __name__ == "__main__":
    is_well, said = ask(sys.argv[1])
    sys.stdout.write(said + "\n")
    sys.exit(not is_well)
