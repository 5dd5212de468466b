"""What AiiDA may reuse instead of computing it again."""

from __future__ import annotations

from typing import Any

from aiida.orm import ProcessNode

#: First exit status of the warnings: the outputs are complete.
FIRST_WARNING = 700


class ReuseOnlySuccess:
    """Keep AiiDA's caching from repeating a failure: only a job that ended well, or with a warning, is reused.

    By default AiiDA reuses failed jobs too, so that launching a study again would fail again without trying, although
    the disk has room now or the parser has learnt something. Comes first among the bases of a CalcJob.
    """

    @classmethod
    def is_valid_cache(cls, node: ProcessNode) -> bool:
        """Return whether the outputs of ``node`` may stand for those of a new job."""
        parent: Any = super()
        status = node.exit_status
        return bool(parent.is_valid_cache(node)) and (not status or status >= FIRST_WARNING)
