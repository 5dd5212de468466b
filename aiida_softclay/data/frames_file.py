"""Labelled frames without AiiDA: the one module to import the frames file and all that works on it from."""

from __future__ import annotations

from .frame_block import FrameBlock, InvalidFramesError
from .frames_export import export_deepmd_npy, export_extxyz
from .frames_operations import merge_files, select, split
from .frames_store import BlockView, FramesFile, IncompatibleFramesError
from .hdf5 import DamagedFileError
from .vasprun import ENERGY_KINDS, VasprunError, VasprunSummary, frames_from_vasprun, iter_vasprun

__all__ = (
    'ENERGY_KINDS',
    'BlockView',
    'DamagedFileError',
    'FrameBlock',
    'FramesFile',
    'IncompatibleFramesError',
    'InvalidFramesError',
    'VasprunError',
    'VasprunSummary',
    'export_deepmd_npy',
    'export_extxyz',
    'frames_from_vasprun',
    'iter_vasprun',
    'merge_files',
    'select',
    'split',
)
