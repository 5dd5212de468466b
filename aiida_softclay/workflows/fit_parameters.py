"""The parameters of a fit: completed from the frames, checked before anything is submitted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aiida_softclay.calculations.dp_base import DEVICES, backend_problem
from aiida_softclay.calculations.dp_train_input import training_problem
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import IncompatibleFramesError, dataset_problem
from aiida_softclay.data.frames_surface import check_energy_kinds, combine_engines
from aiida_softclay.data.left_out import first_missing_file

from .protocol import recursive_merge

#: Decays of the learning rate in a training of gupta2023: 800 000 steps, one decay every 5000.
DECAYS = 160
GATE_KEYS = ('rmse_energy_meV_atom', 'rmse_force_meV_A')
#: Names that an input of the calculation function which builds the data set cannot have.
RESERVED = ('parameters', 'metadata')

Frames = FramesData | Mapping[str, FramesData]


def named_frames(frames: Frames | None) -> dict[str, FramesData]:
    """Return frames by names that AiiDA takes as link labels; one node becomes ``all``.

    Raises
    ------
    ValueError
        If two names become the same.
    """
    if frames is None:
        return {}
    if isinstance(frames, FramesData):
        return {'all': frames}
    named: dict[str, FramesData] = {}
    for name, node in frames.items():
        label = re.sub(r'_+', '_', re.sub('[^A-Za-z0-9]', '_', str(name))).strip('_') or 'frames'
        if label in RESERVED:
            label = f'frames_{label}'
        if label in named:
            raise ValueError(f'two sets of frames are called {label}: give them different names')
        named[label] = node
    return named


def type_map_of(frames: Iterable[FramesData]) -> list[str]:
    """Return the elements of the frames by electronegativity (metals first)."""
    from pymatgen.core import Element

    elements = {element for node in frames for element in node.elements}
    return sorted(elements, key=lambda symbol: (Element(symbol).X, symbol))


def complete_parameters(parameters: Mapping[str, Any], frames: Frames) -> dict[str, Any]:
    """Return parameters of a protocol with type map, seeds and decay of the learning rate filled in.

    Parameters
    ----------
    parameters : mapping
        Values of a protocol.
    frames : FramesData or mapping of str to FramesData
        What the potential is fitted to; the type map is taken from it unless one is given.
    """
    complete = recursive_merge(parameters, {})
    deepmd, seed = complete['deepmd'], complete['seed']
    model, training, rate = deepmd['model'], deepmd['training'], deepmd['learning_rate']
    if model.get('type_map') is None:
        model['type_map'] = type_map_of(named_frames(frames).values())
    model['descriptor'].setdefault('seed', seed)
    model['fitting_net'].setdefault('seed', seed + 1)
    training.setdefault('seed', seed + 2)
    if 'decay_steps' in rate and rate['decay_steps'] is None:
        rate['decay_steps'] = max(1, int(training['numb_steps']) // DECAYS)
    return complete


def parameters_problem(parameters: Mapping[str, Any], n_frames: int | None = None) -> str | None:
    """Return what is wrong with complete parameters, for a given number of frames if known, or ``None``."""
    missing = [key for key in ('deepmd', 'gate', 'dataset', 'seed') if key not in parameters]
    if missing:
        return f'the parameters lack {", ".join(missing)}: take them from a protocol (get_builder_from_protocol)'
    problem = backend_problem(parameters.get('backend', 'tensorflow'), trains=True) or _gate_problem(parameters['gate'])
    if problem:
        return problem
    device = parameters.get('device')
    if device is not None and device not in DEVICES:
        return f'device is {device!r}: choose {" or ".join(DEVICES)}, or none to take what dp finds'
    for key in ('options', 'training_options'):
        if not isinstance(parameters.get(key) or {}, Mapping):
            return f'{key} is {parameters[key]!r}: give a mapping of scheduler options'
    for key, lowest in (('n_threads', 1), ('max_iterations', 1)):
        value = parameters.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < lowest):
            return f'{key} is {value!r}: give a whole number of at least {lowest}'
    problem = dataset_problem(parameters['dataset'])
    if problem:
        return f'dataset: {problem}'
    if n_frames is not None:
        fraction = parameters['dataset'].get('training_fraction', 0.8)
        used = min(n_frames, parameters['dataset'].get('n_frames') or n_frames)
        if used * (1 - fraction) < 0.5 or used * fraction < 1:
            return (
                f'{used} frames at a training_fraction of {fraction:g} leave none to train or none to test on: '
                'give more frames or another fraction'
            )
    problem = training_problem(parameters['deepmd'])
    return f'deepmd: {problem}' if problem else None


def _gate_problem(gate: Any) -> str | None:
    if gate is None:
        return None
    if not isinstance(gate, Mapping):
        return f'gate is {gate!r}: give limits ({", ".join(GATE_KEYS)}), or null for no gate'
    for key in GATE_KEYS:
        value = gate.get(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            return f'gate.{key} is {value!r}: give a positive number, above which the potential is refused'
    return None


def frames_problem(frames: Mapping[str, FramesData], type_map: Iterable[str]) -> str | None:
    """Return why a potential cannot be fitted to frames (foreign elements, labels that do not fit), or ``None``."""
    known = list(type_map)
    for name, node in frames.items():
        missing = [element for element in node.elements if element not in known]
        if missing:
            return (
                f'the frames `{name}` contain {", ".join(missing)}, which deepmd.model.type_map ({", ".join(known)}) '
                'lacks: add them to the type map or leave these frames out'
            )
    nodes = list(frames.values())
    try:
        engine = nodes[0].engine
        for node in nodes[1:]:
            check_energy_kinds(nodes[0].energy_kind, node.energy_kind)
            engine = combine_engines(engine, node.engine)
    except IncompatibleFramesError as error:
        return str(error)
    return None


def validate_parameters(node: Any, _: Any = None) -> str | None:
    """Return a sentence if the parameters of a fit cannot work."""
    return parameters_problem(node.get_dict())


def inputs_problem(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a sentence if frames and parameters of a fit do not go together."""
    if 'parameters' not in inputs:
        return None
    frames, prepared = dict(inputs.get('frames') or {}), dict(inputs.get('prepared') or {})
    if bool(frames) == bool(prepared):
        return 'give either frames, of which a data set is made, or a prepared training and validation set'
    parameters = inputs['parameters'].get_dict()
    if problem := first_missing_file(frames or prepared):
        return problem
    if prepared:
        if len(prepared) < 2:
            return 'a prepared data set has both, training and validation frames'
        hashes = {node.base.attributes.get('content_hash') for node in prepared.values()}
        if len(hashes) < 2:
            return 'the prepared training and validation frames are the same: the test would be worthless'
    else:
        clash = [name for name in frames if name in RESERVED]
        if clash:
            return f'frames cannot be called {", ".join(clash)}: choose another name'
    n_frames = sum(node.n_frames for node in frames.values()) if frames else None
    problem = parameters_problem(parameters, n_frames)
    return problem or frames_problem(frames or prepared, parameters['deepmd']['model']['type_map'])
