"""Submit independent branches of a workchain in bounded waves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida.engine import ToContext
from aiida.orm import Code, ProcessNode

#: Property of a computer that bounds how many jobs a workchain may have on it at once.
MAX_JOBS_PROPERTY = 'softclay_max_jobs'


def computer_job_limit(*codes: Code) -> int | None:
    """Return the smallest job limit recorded on the computers of ``codes``; ``None`` if there is none."""
    limits = [code.computer.get_property(MAX_JOBS_PROPERTY, None) for code in codes if code.computer is not None]
    known = [int(limit) for limit in limits if limit]
    return min(known) if known else None


class BoundedBranchesMixin:
    """Run named branches in parallel, never more than ``limit`` at once.

    A workchain queues its branches with :meth:`queue_branches` and puts
    ``while_(cls.has_pending_branches)(cls.submit_branches)`` in its outline. A wave is waited for as a whole: the engine
    wakes a workchain only when everything it waits for has ended. Branches that fail do not stop the others; who queued
    them looks at :meth:`branch`.
    """

    def queue_branches(self, branches: Iterable[str], limit: int | None) -> None:
        """Queue branches by name; :meth:`build_branch` makes the inputs of each when its turn comes."""
        self.ctx.pending_branches = list(branches)
        self.ctx.branch_limit = limit or max(len(self.ctx.pending_branches), 1)

    def has_pending_branches(self) -> bool:
        """Return whether branches are still to be submitted."""
        return bool(self.ctx.pending_branches)

    def build_branch(self, name: str) -> Any:
        """Return the builder of a queued branch; a workchain with branches defines it."""
        raise NotImplementedError(f'{type(self).__name__} queues `{name}` but does not build branches')

    def submit_branches(self) -> ToContext:
        """Submit the next wave of branches."""
        wave = self.ctx.pending_branches[: self.ctx.branch_limit]
        self.ctx.pending_branches = self.ctx.pending_branches[self.ctx.branch_limit :]
        running = {}
        for name in wave:
            running[self.branch_key(name)] = self.submit(self.build_branch(name))
            self.report(f'{name}: launched <{running[self.branch_key(name)].pk}>')
        return ToContext(**running)

    @staticmethod
    def branch_key(name: str) -> str:
        """Return the context key of a branch."""
        return f'branch_{name}'

    def branch(self, name: str) -> ProcessNode:
        """Return the process of a branch that has run."""
        return self.ctx[self.branch_key(name)]
