"""How a process that serves a loop shares its memory among threads, and gives it back (decisions 0115, 0119)."""

import ctypes
import os
from typing import NamedTuple


class Option(NamedTuple):
    """One of `mallopt`: its number in malloc.h of glibc, what we set, and what says otherwise in the environment."""

    number: int
    value: int
    variable: str
    tunable: str


ARENAS_MAX = Option(-8, 2, "MALLOC_ARENA_MAX", "malloc.arena_max")
"""Heaps that all threads share. A client is 6 to 10 threads, and each outage makes new ones: with a heap for
each thread, up to 8 for a core, what is free in one is of no use to the next, and a process grew by 4 to 5 MiB at each
outage [measured, decision 0115]."""

MAPPED_FROM = Option(-3, 64 * 1024, "MALLOC_MMAP_THRESHOLD_", "malloc.mmap_threshold")
"""Bytes from which a block is mapped for itself and given back when it is freed. Left to itself glibc raises this to
the largest block that was ever freed: then the buffers of a client's fetches and batches lie in the heaps, small ones
that outlive them lie between, and what an outage frees is in pieces [measured, decision 0119]."""


def bound_heaps() -> None:
    """Set each option, unless the environment says otherwise. Before there are threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # there is none but glibc's
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    for option in (ARENAS_MAX, MAPPED_FROM):
        if mallopt is not None and option.variable not in os.environ and option.tunable not in tunables:
            mallopt(option.number, option.value)
