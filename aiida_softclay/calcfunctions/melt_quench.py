"""What a melt–quench of many structures came to: which ran, how hot, how many frames, and what failed."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import calcfunction

SUMMARY_SCHEMA = 'softclay-melt-quench/1'


def summarise(record: dict[str, Any], results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of a melt–quench.

    Parameters
    ----------
    record : dict
        ``structures``: label to what was done and how it ended (``failure`` is ``None`` or ``{'name', 'message'}``).
    results : dict
        Label to the results of its AIMD, for those that have any.

    Returns
    -------
    dict
        ``schema``, ``structures`` (each with the steps, frames, runs and wall time of its results), ``failures`` (label
        to name and message), ``n_structures``, ``n_succeeded``, ``n_frames``.
    """
    structures: dict[str, Any] = {}
    for label, entry in record['structures'].items():
        context = results.get(label, {}).get('context', {})
        known = ('steps', 'steps_planned', 'duration_ps', 'runs', 'steps_not_converged', 'wall_time_s', 'n_atoms')
        structures[label] = {**entry, **{key: context[key] for key in known if key in context}}
    failures = {label: entry['failure'] for label, entry in structures.items() if entry['failure'] is not None}
    return {
        'schema': SUMMARY_SCHEMA,
        'structures': structures,
        'failures': failures,
        'n_structures': len(structures),
        'n_succeeded': len(structures) - len(failures),
        'n_frames': sum(entry['n_frames'] for entry in structures.values()),
    }


@calcfunction
def summarise_melt_quench(record: orm.Dict, **results: orm.Dict) -> orm.Dict:
    """Return :func:`summarise` of the structures of a melt–quench."""
    return orm.Dict(summarise(record.get_dict(), {label: node.get_dict() for label, node in results.items()}))
