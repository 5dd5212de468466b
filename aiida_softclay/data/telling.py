"""How far long work is: what does it tells, and what waits for it may listen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar('Item')
#: Takes what is done, how many of it are done, and how many there are.
Tell = Callable[[str, int, int], None]

_LISTENER: ContextVar[Tell | None] = ContextVar('softclay_listener', default=None)


@contextmanager
def telling(listener: Tell) -> Iterator[None]:
    """Let a function be told of all work within the context; contexts within take over."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell(what: str, done: int, total: int) -> None:
    """Tell who listens, if anybody does, that ``done`` of ``total`` are done of what is going on."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, total)


def told(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield the items and tell of each that was worked on.

    >>> seen = []
    >>> with telling(lambda *how_far: seen.append(how_far)):
    ...     list(told('ab', 'letters', 2))
    ['a', 'b']
    >>> seen
    [('letters', 0, 2), ('letters', 1, 2), ('letters', 2, 2)]
    """
    tell(what, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        tell(what, done, total)
