"""Labelled frames without AiiDA: the one module to import the frames file and all that works on it from."""

from __future__ import annotations

from .frame_block import FrameBlock, InvalidFramesError
from .frames_dataset import DATASET_DEFAULTS, build_dataset, dataset_problem
from .frames_export import export_deepmd_npy, export_extxyz
from .frames_operations import merge_files, select, split
from .frames_store import BlockView, FramesFile
from .frames_surface import IncompatibleFramesError
from .hdf5 import DamagedFileError
from .outcar import frames_from_outcar, iter_outcar
from .vasp_steps import ENERGY_KINDS, VaspOutputError, VaspSummary
from .vasprun import VasprunError, VasprunSummary, frames_from_vasprun, iter_vasprun

__all__ = (
    'DATASET_DEFAULTS',
    'ENERGY_KINDS',
    'BlockView',
    'DamagedFileError',
    'FrameBlock',
    'FramesFile',
    'IncompatibleFramesError',
    'InvalidFramesError',
    'VaspOutputError',
    'VaspSummary',
    'VasprunError',
    'VasprunSummary',
    'build_dataset',
    'dataset_problem',
    'export_deepmd_npy',
    'export_extxyz',
    'frames_from_outcar',
    'frames_from_vasprun',
    'iter_outcar',
    'iter_vasprun',
    'merge_files',
    'select',
    'split',
)
