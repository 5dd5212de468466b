"""Compile the loops over pairs once per machine, also where the package itself cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Arguments = ParamSpec('Arguments')
Result = TypeVar('Result')


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the function compiled to machine code at its first call, and kept on disk for the next process.

    The compiled code lies beside the module, or in the cache directory of the user where that cannot be written (or in
    ``NUMBA_CACHE_DIR``). Where nothing can be written, every process compiles for itself. The compiled function
    releases the global interpreter lock, so that threads can work on different frames.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # No place can be written: the code works all the same, it is only compiled again in each process.
        return numba.njit(nogil=True)(function)
