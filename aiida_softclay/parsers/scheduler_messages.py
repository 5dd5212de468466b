"""What schedulers print into a job's standard error when they end it, and under which of AiiDA's names that is known.

AiiDA asks Slurm for the end of a job where accounting is switched on, and reads two of its messages; for PBS, LSF and
the rest it knows nothing. The messages are those of Slurm's slurmstepd, of PBS's MoM, of LSF's termination reasons, of
the Linux kernel, and of programs that were refused memory.
"""

from __future__ import annotations

import re

#: Labels of exit codes that every CalcJob has.
OUT_OF_WALLTIME = 'ERROR_SCHEDULER_OUT_OF_WALLTIME'
OUT_OF_MEMORY = 'ERROR_SCHEDULER_OUT_OF_MEMORY'
NODE_FAILURE = 'ERROR_SCHEDULER_NODE_FAILURE'

_MESSAGES = (
    (OUT_OF_WALLTIME, r'DUE TO TIME LIMIT|job killed: walltime \S+ exceeded|TERM_RUNLIMIT|job exceeded run ?time'),
    (NODE_FAILURE, r'DUE TO NODE FAILURE|NODE_FAIL|TERM_ZOMBI|lost connection to node|node \S+ (?:is|went) down'),
    (
        OUT_OF_MEMORY,
        r'oom[-_]kill|exceeded .*memory limit|job killed: v?mem \S+ exceeded|TERM_MEMLIMIT|std::bad_alloc|'
        r'Failed to (?:re)?allocate \d+ bytes|CUDA_ERROR_OUT_OF_MEMORY|OOM when allocating',
    ),
)
_PATTERNS = tuple((label, re.compile(pattern, re.IGNORECASE)) for label, pattern in _MESSAGES)


def scheduler_reason(text: str) -> tuple[str, str] | None:
    """Return why a scheduler ended a job, as the label of AiiDA's exit code and the line that says so, or ``None``."""
    for label, pattern in _PATTERNS:
        for line in text.splitlines():
            if pattern.search(line):
                return label, line.strip()[:500]
    return None
