"""Whether a training may go on from the checkpoint of another: it must be the same model on the same schedule."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

#: File in the folder of every training that says what its checkpoints are, and the name under which a continued
#: training gets that of its parent.
MODEL_FILE, PARENT_MODEL_FILE = 'model.json', 'parent_model.json'
#: The input as dp completed it, for folders of trainings that nothing of ours ran, and its name beside the new one.
PARENT_INPUT = 'parent_out.json'
#: Shell lines that end a job before dp starts if the checkpoint is of another model.
CHECK_LINES = (
    f'if [ -e {PARENT_MODEL_FILE} ] && ! cmp -s {MODEL_FILE} {PARENT_MODEL_FILE}; then\n'
    f'  echo "SOFTCLAY: {MODEL_FILE} and {PARENT_MODEL_FILE} differ" > REFUSED; exit 1\n'
    'fi'
)


def checkpoint_identity(parameters: Mapping[str, Any], backend: str) -> dict[str, Any]:
    """Return what two trainings must share so that one may go on from a checkpoint of the other.

    The model (without the seeds, which matter at step 0 only), the learning rate, the loss and the number of steps:
    learning rate and loss are functions of the step over the number of steps.
    """
    model = copy.deepcopy(dict(parameters['model']))
    for part in ('descriptor', 'fitting_net'):
        model[part] = {key: value for key, value in (model.get(part) or {}).items() if key != 'seed'}
    return {
        'backend': backend,
        'model': model,
        'learning_rate': dict(parameters['learning_rate']),
        'loss': dict(parameters['loss']),
        'numb_steps': parameters['training']['numb_steps'],
    }


def identity_text(parameters: Mapping[str, Any], backend: str) -> str:
    """Return :func:`checkpoint_identity` as canonical JSON, which `cmp` can compare."""
    return json.dumps(checkpoint_identity(parameters, backend), sort_keys=True, indent=1) + '\n'


def differences(first: Any, second: Any, where: str = '', shared_only: bool = False) -> list[str]:
    """Return the dotted names of the values that differ, with both values; ``shared_only``: of keys that both have."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        found: list[str] = []
        for key in sorted(set(first) & set(second) if shared_only else set(first) | set(second)):
            path = f'{where}.{key}' if where else str(key)
            found += differences(first.get(key), second.get(key), path, shared_only)
        return found
    return [] if first == second else [f'{where} ({second!r} there, {first!r} here)']


def checkpoint_problem(
    parameters: Mapping[str, Any], backend: str, parent: Mapping[str, Any], parent_backend: str
) -> str | None:
    """Return why a training cannot go on from a checkpoint of another, or ``None``.

    Parameters
    ----------
    parameters, parent : mapping
        Training inputs of the new and of the old training.
    backend, parent_backend : str
        Their backends.
    """
    found = differences(checkpoint_identity(parameters, backend), checkpoint_identity(parent, parent_backend))
    if not found:
        return None
    return (
        f'the checkpoint is of another training: {"; ".join(found[:4])}{"; …" if len(found) > 4 else ""}. Go on with '
        'the same input, or train from scratch'
    )


def completed_inputs_problem(text: str, parent_text: str) -> str | None:
    """Return the differences of two inputs as dp completed them (``out.json``), or ``None``; unreadable ones say none.

    Only what both hold is compared, since another version of dp may fill in other defaults.
    """
    identities = []
    for content in (text, parent_text):
        try:
            identities.append(checkpoint_identity(json.loads(content), backend=''))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None
    found = differences(*identities, shared_only=True)
    return '; '.join(found[:4]) or None
