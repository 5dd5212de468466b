"""Inputs that several workchains declare alike, so that a user finds them under one name with one meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida import orm
from aiida.orm import to_aiida_type

from aiida_softclay.workflows.options import DEFAULT_OPTIONS

CODE_HELP = {
    'vasp': 'VASP, or the VASP-compatible driver.',
    'dp': 'DeePMD-kit.',
    'lmp': 'LAMMPS with the DeePMD plugin.',
}
ENGINES = tuple(CODE_HELP)


def define_codes(spec: Any, required: Iterable[str] = ENGINES) -> None:
    """Declare ``codes.vasp``, ``codes.dp``, ``codes.lmp`` and the scheduler options of the jobs of each."""
    needed = set(required)
    spec.input_namespace('codes', help='The engines.')
    spec.input_namespace('options', help='Scheduler options of the jobs of each engine.')
    for engine, text in CODE_HELP.items():
        spec.input(f'codes.{engine}', valid_type=orm.AbstractCode, required=engine in needed, help=text)
        spec.input(
            f'options.{engine}', valid_type=orm.Dict, required=False, serializer=to_aiida_type,
            help=f'Options of the {engine} jobs.',
        )  # fmt: skip


def define_pseudopotentials(spec: Any, required: bool = True) -> None:
    """Declare ``potential_family`` and ``potential_mapping``."""
    spec.input(
        'potential_family', valid_type=orm.Str, serializer=to_aiida_type, required=required,
        help='Label of the family of POTCAR files.',
    )  # fmt: skip
    spec.input(
        'potential_mapping', valid_type=orm.Dict, serializer=to_aiida_type, required=False,
        help='Full name of the potential of an element, where it is not the plain one (`{"Ga": "Ga_d"}`).',
    )  # fmt: skip


def define_job_bound(spec: Any, what: str = 'branches', where: str = 'computers of the engines bear') -> None:
    """Declare ``max_concurrent_jobs``."""
    spec.input(
        'max_concurrent_jobs', valid_type=orm.Int, serializer=to_aiida_type, required=False,
        help=f'Most {what} at once; by default as many as the {where}.',
    )  # fmt: skip


def define_job_options(spec: Any, what: str = 'every job') -> None:
    """Declare ``options``, the scheduler options of the jobs of the one engine."""
    spec.input(
        'options', valid_type=orm.Dict, serializer=to_aiida_type, default=lambda: orm.Dict(DEFAULT_OPTIONS),
        help=f'`metadata.options` of {what}.',
    )  # fmt: skip
