"""How a process that serves a loop shares its memory among threads (decision 0115)."""

import ctypes
import os

ARENAS_MAX = 2
"""Heaps of glibc that all threads share. A client is 6 to 10 threads, and each outage makes new ones: with a heap for
each thread, up to 8 for a core, what is free in one is of no use to the next, and a process grew by 4 to 5 MiB at each
outage [measured, decision 0115]."""

M_ARENA_MAX = -8
"""Source: malloc.h of glibc."""


def bound_heaps() -> None:
    """Let all threads share a few heaps, unless the environment says otherwise. Before there are threads."""
    said = "MALLOC_ARENA_MAX" in os.environ or "malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = None if said else getattr(ctypes.CDLL(None), "mallopt", None)  # there is none but glibc's
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS_MAX)
