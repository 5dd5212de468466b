"""Gather the numbers of several stages in one table node."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_softclay.analysis.quantity import SCHEMA, check_results


@calcfunction
def collect_results(context: orm.Dict, **stages: orm.Dict) -> orm.Dict:
    """Return the numbers of all stages in one results node.

    Parameters
    ----------
    context : aiida.orm.Dict
        What all numbers share (mixture, protocol, engine).
    **stages : aiida.orm.Dict
        Results nodes by stage; the name of a number becomes ``stage.name``, and ``source`` holds the uuid of the node
        it was taken from.

    Raises
    ------
    ValueError
        If a node does not follow the results schema.
    """
    numbers = []
    for stage in sorted(stages):
        content = stages[stage].get_dict()
        check_results(content)
        stage_context = content.get('context', {})
        for number in content['numbers']:
            row = dict(number)
            row['name'] = f'{stage}.{number["name"]}'
            row['source'] = stages[stage].uuid
            conditions = dict(number.get('conditions') or {})
            for key in ('temperature_K', 'n_atoms', 'duration_ps', 'engine'):
                if key in stage_context:
                    conditions.setdefault(key, stage_context[key])
            row['conditions'] = conditions
            numbers.append(row)
    return orm.Dict({'schema': SCHEMA, 'numbers': numbers, 'context': context.get_dict()})
