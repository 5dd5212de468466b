"""The data set of a fit or of a committee: the same inputs, the same outputs, made in one way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_softclay.calcfunctions.frames import build_dataset
from aiida_softclay.data.frames import FramesData

from .fit_parameters import Frames, complete_parameters, named_frames


def define_data_set(spec: Any) -> None:
    """Declare the inputs from which a data set is made, and the outputs with what was made."""
    spec.input_namespace(
        'frames', valid_type=FramesData, dynamic=True, required=False,
        help='Labelled frames, in any number of nodes; a data set is drawn from all of them.',
    )  # fmt: skip
    spec.input_namespace(
        'prepared', required=False, help='A data set that is there already, instead of `frames`: nothing is drawn.'
    )
    spec.input('prepared.training', valid_type=FramesData, required=False, help='Frames to train on.')
    spec.input('prepared.validation', valid_type=FramesData, required=False, help='Frames to test on, unseen.')
    spec.output('training_frames', valid_type=FramesData, help='What was trained on.')
    spec.output('validation_frames', valid_type=FramesData, help='What was tested on.')
    spec.output(
        'dataset', valid_type=orm.Dict, required=False,
        help='What the data set was drawn from and what was left out, by structure and stage; none if it was prepared.',
    )  # fmt: skip


def fill_data_set(
    builder: Any,
    parameters: Mapping[str, Any],
    frames: Frames | None,
    prepared: Mapping[str, FramesData] | None,
) -> dict[str, Any]:
    """Give a builder its frames and return the parameters, completed from them."""
    named = dict(prepared or {}) or named_frames(frames)
    if prepared:
        builder.prepared = dict(prepared)
    if frames is not None:
        builder.frames = named_frames(frames)
    return complete_parameters(parameters, named)


def make_data_set(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``training`` and ``validation`` frames, and the ``report`` if they had to be drawn.

    Raises
    ------
    InputValidationError
        If no data set can be made of the frames.
    """
    prepared = inputs.get('prepared') or {}
    if 'training' in prepared:
        return {name: prepared[name] for name in ('training', 'validation')}
    return build_dataset(
        orm.Dict(dict(parameters['dataset'])), **inputs['frames'], metadata={'call_link_label': 'build_dataset'}
    )
