"""Keeping freed memory in the process: a training step on a CPU asks for the same tensors again and again."""

from __future__ import annotations

import ctypes

# Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell the C library to reuse freed blocks instead of returning them to the system; whether it could be told.

    By default glibc gives large blocks back and gets them anew, page fault by page fault: 27,000 faults in a step of
    6,500 tokens at width 128, a few per cent of its time (benchmarks/training_speed.py). For processes that train,
    once, at their start; their resident memory stays at its peak. Does nothing where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
