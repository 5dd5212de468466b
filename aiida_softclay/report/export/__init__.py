"""Take a study away: everything that another person needs to read, check and continue it, in one folder or file."""

from __future__ import annotations

from aiida_softclay.report.export.options import BULK_ABOVE, DEFAULT_PARTS, PARTS, Options
from aiida_softclay.report.export.writing import PartSize, TakeAway, dry_run, take_away, warnings_of

__all__ = [
    'BULK_ABOVE', 'DEFAULT_PARTS', 'PARTS', 'Options', 'PartSize', 'TakeAway', 'dry_run', 'take_away', 'warnings_of',
]  # fmt: skip
