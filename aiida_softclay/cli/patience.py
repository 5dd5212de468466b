"""What a command says while it works for longer than a moment."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiida.cmdline.utils import echo

#: Seconds after which something is said, and between two sentences.
PATIENCE_S = 5.0


class Progress:
    """Says how far something is and how long it will take, once it has taken five seconds and then every five seconds.

    Lines on standard error, so that tables and files on standard output stay whole, with and without a terminal.
    """

    def __init__(self, say: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say or (lambda text: echo.echo_report(text, err=True))
        self._clock = clock
        self._what = ''
        self._begin = 0.0
        self._first = 0
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` are done."""
        now = self._clock()
        if what != self._what:
            self._what, self._begin, self._first, self._next = what, now, done, now + PATIENCE_S
        elif now >= self._next and done < total:
            self._next = now + PATIENCE_S
            self._say(f'{what}: {done} of {total}{self._left(now, done, total)}')

    def _left(self, now: float, done: int, total: int) -> str:
        from aiida_softclay.cli.status import duration_text

        gone = done - self._first
        return f', about {duration_text((now - self._begin) * (total - done) / gone)} left' if gone > 0 else ''
