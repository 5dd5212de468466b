"""Inputs that several workchains declare alike, so that a user finds them under one name with one meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiida import orm
from aiida.orm import to_aiida_type

from aiida_softclay.workflows.concurrency import computer_job_limit
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


def set_engines(
    builder: Any,
    codes: Mapping[str, orm.AbstractCode | None],
    *,
    potential_family: str | None = None,
    potential_mapping: Mapping[str, str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    max_concurrent_jobs: int | None = None,
) -> None:
    """Set what :func:`define_codes`, :func:`define_pseudopotentials` and :func:`define_job_bound` declare.

    Parameters
    ----------
    builder : ProcessBuilder
        Of a workchain with these inputs.
    codes : mapping
        ``vasp``, ``dp``, ``lmp`` to codes; ``None`` for one that there is not.
    potential_family : str, optional
        Label of the family of POTCAR files.
    potential_mapping : mapping, optional
        Full names of potentials by element; an empty one says nothing and is no input.
    options : mapping, optional
        ``vasp``, ``dp``, ``lmp`` to scheduler options.
    max_concurrent_jobs : int, optional
        Most branches at once.
    """
    builder.codes = {name: code for name, code in codes.items() if code is not None}
    if potential_family is not None:
        builder.potential_family = orm.Str(potential_family)
    if potential_mapping:
        builder.potential_mapping = orm.Dict(dict(potential_mapping))
    if options:
        builder.options = {engine: orm.Dict(dict(values)) for engine, values in options.items()}
    if max_concurrent_jobs is not None:
        builder.max_concurrent_jobs = orm.Int(max_concurrent_jobs)


def given_mapping(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the ``potential_mapping`` among the inputs of a workchain, empty if there is none."""
    return inputs['potential_mapping'].get_dict() if 'potential_mapping' in inputs else {}


def given_options(inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the scheduler options among the inputs of a workchain, by engine; an engine without any is left out."""
    options = inputs.get('options') or {}
    return {engine: options[engine].get_dict() for engine in ENGINES if engine in options}


def given_job_bound(inputs: Mapping[str, Any]) -> int | None:
    """Return ``max_concurrent_jobs`` among the inputs of a workchain, ``None`` if it is not given."""
    return inputs['max_concurrent_jobs'].value if 'max_concurrent_jobs' in inputs else None


def branch_limit(inputs: Mapping[str, Any], *codes: orm.AbstractCode) -> int | None:
    """Return how many branches of a workchain may run at once: as asked for, else as the computers of the codes bear.

    Returns
    -------
    int or None
        ``None`` where the computers keep their limits themselves.
    """
    bound = given_job_bound(inputs)
    return computer_job_limit(*codes) if bound is None else bound
