"""Submit independent branches of a workchain in bounded waves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida.engine import ToContext
from aiida.orm import Code, ProcessNode

#: Property of a computer that says how many jobs may compute on it at once.
MAX_JOBS_PROPERTY = 'softclay_max_jobs'
#: Name of the job gate in the prepend text of a computer made by `setup_profile.sh`: jobs wait there for a free slot.
GATE_MARK = 'SOFTCLAY_JOB_GATE'
#: Branches at once on a computer that starts everything immediately and states no limit.
UNGATED_LIMIT = 2


def computer_job_limit(*codes: Code) -> int | None:
    """Return how many branches to submit at once to the computers of ``codes``.

    A scheduler queues jobs itself, and so does the job gate of a computer made by `setup_profile.sh`: everything is
    submitted and nothing idles. A computer with neither starts every job at once, so there the branches are bounded.

    Returns
    -------
    int or None
        ``None`` where the computer keeps its limit itself.
    """
    limits = []
    for computer in {code.computer.pk: code.computer for code in codes if code.computer is not None}.values():
        if computer.scheduler_type != 'core.direct' or GATE_MARK in computer.get_prepend_text():
            continue
        limits.append(int(computer.get_property(MAX_JOBS_PROPERTY, None) or UNGATED_LIMIT))
    return min(limits) if limits else None


class BoundedBranchesMixin:
    """Run named branches in parallel, never more than ``limit`` at once.

    A workchain queues its branches with :meth:`queue_branches` and puts
    ``while_(cls.has_pending_branches)(cls.submit_branches)`` in its outline. A wave is waited for as a whole: AiiDA
    wakes a workchain only when everything it waits for has ended. Branches that fail do not stop the others; who queued
    them looks at :meth:`branch`.
    """

    def queue_branches(self, branches: Iterable[str], limit: int | None) -> None:
        """Queue branches by name; :meth:`build_branch` makes the inputs of each when its turn comes."""
        self.ctx.pending_branches = list(branches)
        self.ctx.branches_at_once = limit or max(len(self.ctx.pending_branches), 1)

    def has_pending_branches(self) -> bool:
        """Return whether branches are still to be submitted."""
        return bool(self.ctx.pending_branches)

    def build_branch(self, name: str) -> Any:
        """Return the builder of a queued branch; a workchain with branches defines it."""
        raise NotImplementedError(f'{type(self).__name__} queues `{name}` but does not build branches')

    def submit_branches(self) -> ToContext:
        """Submit the next wave of branches."""
        wave = self.ctx.pending_branches[: self.ctx.branches_at_once]
        self.ctx.pending_branches = self.ctx.pending_branches[self.ctx.branches_at_once :]
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
