"""Scheduler options that a job gets where the user names none."""

from __future__ import annotations

from typing import Any

#: One process on one machine for a day.
DEFAULT_OPTIONS: dict[str, Any] = {
    'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
    'withmpi': False,
    'max_wallclock_seconds': 86400,
}
