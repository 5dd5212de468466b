"""What is known of a committee: who is in it, how good each member is, how far they are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida.engine import calcfunction
from aiida.orm import Dict

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.data.potential import PotentialData

#: End of the name of an input with the results of the fit of a member.
RESULTS = '_results'
COMPARED = ('rmse_energy', 'rmse_force', 'rmse_virial')


def committee_quantities(fits: dict[str, dict[str, Any]]) -> list[Quantity]:
    """Return the test errors of each member, their mean and their spread.

    Parameters
    ----------
    fits : dict
        Name of each member → results of its fit, in the results schema.
    """
    quantities = []
    for name in COMPARED:
        rows = {
            member: row for member, content in fits.items() for row in content['numbers'] if row['name'] == name
        }  # fmt: skip
        for member, row in rows.items():
            kept = {key: row[key] for key in ('value', 'error', 'unit', 'definition', 'n_samples')}
            quantities.append(
                Quantity(
                    name=f'{member}.{name}', **kept, error_method=row.get('error_method', ''),
                    conditions=row.get('conditions') or {}, warnings=row.get('warnings') or [],
                )
            )  # fmt: skip
        values = np.array([row['value'] for row in rows.values() if row['value'] is not None])
        if len(values) < 2:
            continue
        row = next(iter(rows.values()))
        spread = float(values.std(ddof=1))
        shared: dict[str, Any] = {'unit': row['unit'], 'n_samples': len(values)}
        quantities += [
            Quantity(
                name=name, value=float(values.mean()), error=spread / np.sqrt(len(values)),
                definition=f'mean over the members of: {row["definition"]}',
                error_method='standard deviation over the members by the root of their number', **shared,
            ),
            Quantity(
                name=f'{name}.spread', value=spread, error=spread / np.sqrt(2 * (len(values) - 1)),
                definition=f'standard deviation over the members of: {row["definition"]}',
                error_method='of normal numbers: value / sqrt(2 (n - 1))', **shared,
            ),
        ]  # fmt: skip
    return quantities


@calcfunction
def collect_committee(group: Dict, **members: Any) -> dict[str, Dict]:
    """Return the record of a ``committee`` and the test errors of its members as ``results``.

    Parameters
    ----------
    group : aiida.orm.Dict
        ``label`` and ``uuid`` of the group ``softclay.committee``.
    **members : PotentialData or aiida.orm.Dict
        Each potential under its name, and the results of its fit under that name with ``_results``.
    """
    potentials: dict[str, PotentialData] = {
        name: node for name, node in sorted(members.items()) if isinstance(node, PotentialData)
    }
    fits = {name: members[name + RESULTS].get_dict() for name in potentials}
    first = next(iter(fits.values()))['context']
    record = {
        **group.get_dict(),
        'members': {
            name: {
                'uuid': node.uuid,
                'md5': node.md5,
                'seed': node.seed,
                'passed_gate': node.passed_gate,
                'test_rmse': node.test_rmse,
            }
            for name, node in potentials.items()
        },
        'type_map': next(iter(potentials.values())).type_map,
    }
    shared = {
        key: first.get(key)
        for key in ('engine', 'labels', 'energy_kind', 'formulas', 'program', 'training_steps', 'gate')
    }
    results = results_dict(
        committee_quantities(fits),
        **shared,
        n_models=len(potentials),
        gate_passed={name: node.passed_gate for name, node in potentials.items()},
    )
    return {'committee': Dict(record), 'results': Dict(results)}
