"""How much memory a handler in a child process may take: by address space, which the system refuses in time.

Whoever started the process may have set a limit of their own (`ulimit -v`): it is never exceeded,
and stands again after each attempt.
"""

import resource


class AddressSpace:
    """The limit of this process, as it was found."""

    def __init__(self) -> None:
        self._found, _ = resource.getrlimit(resource.RLIMIT_AS)

    def limit(self, more: int | None) -> None:
        """Bound it to what is taken now and `more` bytes; None: to what was found."""
        taken = None if more is None else _taken()
        wanted = self._found if taken is None or more is None else taken + more
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        bounds = [bound for bound in (wanted, self._found, hard) if bound != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(bounds, default=resource.RLIM_INFINITY), hard))


def _taken() -> int | None:
    """Bytes of address space taken now; None where the system does not say (then nothing is bounded)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return None
