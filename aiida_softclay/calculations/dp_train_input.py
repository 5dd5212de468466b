"""The training input of DeePMD-kit: checked before it is sent, completed with the paths of the data."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ase.data import atomic_numbers

_AUTO_SEL = re.compile(r'auto(:[0-9]*\.?[0-9]+)?')
#: Margin on the largest number of neighbours of each kind when ``sel`` is plain ``auto``.
AUTO_SEL_MARGIN = 1.2


def training_problem(parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a training input (without paths of data), or ``None``."""
    missing = [key for key in ('model', 'learning_rate', 'loss', 'training') if key not in parameters]
    if missing:
        return f'the training input lacks {", ".join(missing)}'
    model, training = parameters['model'], parameters['training']
    return (
        _type_map_problem(model.get('type_map'))
        or _descriptor_problem(model.get('descriptor') or {}, len(model['type_map']))
        or _seeds_problem(parameters)
        or _training_problem(training)
    )


def _type_map_problem(type_map: Any) -> str | None:
    if not isinstance(type_map, Sequence) or isinstance(type_map, str) or not type_map:
        return "model.type_map must be a list of chemical symbols, for example ['Li', 'Cl']"
    unknown = [str(symbol) for symbol in type_map if atomic_numbers.get(symbol, 0) < 1]
    if unknown:
        return f'model.type_map names unknown elements: {", ".join(unknown)}'
    if len(set(type_map)) != len(type_map):
        return f'model.type_map names an element twice: {", ".join(type_map)}'
    return None


def _descriptor_problem(descriptor: Mapping[str, Any], n_types: int) -> str | None:
    lengths = {key: descriptor.get(key) for key in ('rcut', 'rcut_smth')}
    for key, value in lengths.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            return f'model.descriptor.{key} is {value!r}: give a positive length in Å'
    if not lengths['rcut'] > lengths['rcut_smth']:
        return (
            f'model.descriptor.rcut_smth ({lengths["rcut_smth"]:g} Å), where the cutoff sets in, must be smaller than '
            f'rcut ({lengths["rcut"]:g} Å)'
        )
    sel = descriptor.get('sel')
    if isinstance(sel, str):
        if not _AUTO_SEL.fullmatch(sel):
            return f'model.descriptor.sel is {sel!r}: give a number for each element, `auto` or `auto:1.2`'
    elif isinstance(sel, Sequence):
        if len(sel) != n_types:
            return f'model.descriptor.sel has {len(sel)} numbers for {n_types} elements of the type map'
        if any(not isinstance(number, int) or number < 0 for number in sel):
            return f'model.descriptor.sel is {list(sel)}: give whole numbers of neighbours'
    elif not (isinstance(sel, int) and sel > 0):
        return 'model.descriptor.sel is missing: give the numbers of neighbours of each element, or `auto`'
    return None


def _seeds_problem(parameters: Mapping[str, Any]) -> str | None:
    """Without seeds the run cannot be repeated, and a committee could be of identical models."""
    holders = {
        'model.descriptor.seed': parameters['model'].get('descriptor') or {},
        'model.fitting_net.seed': parameters['model'].get('fitting_net') or {},
        'training.seed': parameters['training'],
    }
    for name, holder in holders.items():
        seed = holder.get('seed')
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            return f'{name} is {seed!r}: give a whole number, so that the training can be repeated'
    return None


def _training_problem(training: Mapping[str, Any]) -> str | None:
    for key in ('numb_steps', 'save_freq', 'disp_freq'):
        value = training.get(key, 1000 if key != 'numb_steps' else None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            return f'training.{key} is {value!r}: give a positive whole number of steps'
    for key in ('training_data', 'validation_data'):
        if 'systems' in (training.get(key) or {}):
            return f'training.{key}.systems is set: the paths come from the frames; leave it out'
    named = [key for key in ('disp_file', 'save_ckpt', 'tensorboard', 'stat_file') if training.get(key)]
    if named:
        return f'training.{", training.".join(named)}: the names of files are chosen by the calculation; leave it out'
    return None


def training_input(
    parameters: Mapping[str, Any], training_systems: Sequence[str], validation_systems: Sequence[str]
) -> dict[str, Any]:
    """Return the complete ``input.json``.

    Parameters
    ----------
    parameters : mapping
        A checked training input without paths.
    training_systems, validation_systems : sequence of str
        Paths of the systems in the job.
    """
    data = copy.deepcopy(dict(parameters))
    training = data['training']
    training['training_data'] = {'batch_size': 'auto', **(training.get('training_data') or {})}
    training['training_data']['systems'] = list(training_systems)
    training['validation_data'] = {
        'batch_size': 1,
        **(training.get('validation_data') or {}),
        'systems': list(validation_systems),
    }
    training.update(disp_file='lcurve.out', save_ckpt='model.ckpt')
    descriptor = data['model']['descriptor']
    if descriptor['sel'] == 'auto':
        descriptor['sel'] = f'auto:{AUTO_SEL_MARGIN}'
    return data
