"""Threads of a process that serves a loop share a few heaps, and large blocks are given back."""

import os
import platform
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, sys, threading
from farandole.cli.heaps import bound_heaps

if sys.argv[1] == "bound":
    bound_heaps()
libc, here = ctypes.CDLL(None), threading.Barrier(13)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes, libc.fflush.argtypes = (ctypes.c_int, ctypes.c_void_p), (ctypes.c_void_p,)

def work():
    libc.malloc(1000)
    here.wait()

for _ in range(12):
    threading.Thread(target=work).start()
here.wait()
out = libc.fdopen(1, b"w")
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives threads heaps of their own")
@pytest.mark.parametrize(
    ("call", "said", "heaps"),
    [("bound", {}, {2}), ("bound", {"MALLOC_ARENA_MAX": "3"}, {3}), ("none", {}, {8, 13})],  # 8 where there is one core
)
def test_threads_share_two_heaps_unless_the_environment_says_otherwise(
    call: str, said: dict[str, str], heaps: set[int]
) -> None:
    """Each outage gave a process new clients, whose threads had heaps of their own: 4 to 5 MiB for nobody else."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")} | said

    told = subprocess.run(
        [sys.executable, "-c", HEAPS, call], env=environment, capture_output=True, text=True, check=True, timeout=60
    )

    assert told.stdout.count("<heap nr=") in heaps


BLOCKS = """
import ctypes, sys
from farandole.cli.heaps import bound_heaps

if sys.argv[1] == "bound":
    bound_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
libc.free(libc.malloc(20_000_000))  # left to itself, glibc maps nothing smaller from now on
held = [libc.malloc(1_000_000) for _ in range(20)]
out = open("/proc/self/maps").read()
heap = next(line for line in out.splitlines() if "[heap]" in line).split()[0]
first, last = (int(each, 16) for each in heap.split("-"))
print(sum(first <= each < last for each in held))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc raises its threshold")
@pytest.mark.parametrize(
    ("call", "said", "in_heap"),
    [("bound", {}, 0), ("bound", {"MALLOC_MMAP_THRESHOLD_": "33554432"}, 20), ("none", {}, 20)],
)
def test_large_blocks_lie_in_no_heap_unless_the_environment_says_otherwise(
    call: str, said: dict[str, str], in_heap: int
) -> None:
    """What lies in a heap is given back only from its end, and small blocks that live on lie between."""
    names = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    environment = {k: v for k, v in os.environ.items() if k not in names} | said

    told = subprocess.run(
        [sys.executable, "-c", BLOCKS, call], env=environment, capture_output=True, text=True, check=True, timeout=60
    )

    assert int(told.stdout) == in_heap
