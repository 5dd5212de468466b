"""What goes into a study, checked where it is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict

from aiida_softclay.calculations.lammps import MAX_RETRIEVED_BYTES
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.workflows.amorphous import AmorphousWorkChain
from aiida_softclay.workflows.estimate import glass_atoms
from aiida_softclay.workflows.experiment import ExperimentWorkChain
from aiida_softclay.workflows.md_inputs import remote_problem
from aiida_softclay.workflows.sampling import validate_sampling

#: The glass is laid out when it is built: so much larger than wanted it may become.
SIZE_MARGIN = 1.05


def validate_mixture(value: orm.Str, _: Any) -> str | None:
    """Return a sentence if the mixture cannot be made."""
    try:
        Mixture.parse(value.value)
    except ValueError as error:
        return str(error)
    return None


def potential_problem(inputs: AttributeDict, mixture: Mixture) -> str | None:
    """Return a sentence if there is neither a potential for the mixture nor what it takes to make one."""
    if 'potential' in inputs:
        missing = sorted(set(mixture.elements) - set(inputs['potential'].type_map))
        if missing:
            return (
                f'the potential does not know {", ".join(missing)}: it knows {"-".join(inputs["potential"].type_map)}'
            )
        return None
    for name in ('vasp', 'dp'):
        if name not in inputs['codes']:
            return f'codes.{name} is missing: without a finished potential the study samples and fits one'
    if 'potential_family' not in inputs:
        return 'potential_family is missing: the label of an uploaded POTCAR family'
    return validate_sampling(inputs['parameters'].get_dict()['sampling'], mixture)


def frames_problem(inputs: AttributeDict, experiments: Mapping[str, type[ExperimentWorkChain]]) -> str | None:
    """Return a sentence if the frames of an experiment, which its analysis needs, would lie where nothing reads them.

    Parameters
    ----------
    inputs : AttributeDict
        Of the study.
    experiments : mapping
        Name to workchain.
    """
    if 'analysis_code' in inputs:
        return None
    parameters = inputs['parameters'].get_dict()
    limit = inputs['max_retrieved_bytes'].value if 'max_retrieved_bytes' in inputs else MAX_RETRIEVED_BYTES
    settings = parameters['amorphous']
    glass = AmorphousWorkChain.get_protocol_inputs(settings['protocol'], settings.get('overrides'))
    try:
        n_atoms = round(SIZE_MARGIN * glass_atoms(glass, inputs['mixture'].value))
    except ValueError:
        # The glass itself says what is wrong with its size.
        return None
    for name, process in experiments.items():
        if not process.needs_frames():
            continue
        chosen = process.get_protocol_inputs(parameters[name]['protocol'], parameters[name].get('overrides'))
        size = process.build_plan(chosen).dump_bytes(n_atoms)
        if size > limit:
            return (
                f'the raw dumps of the {name} of about {n_atoms} atoms take {size:,} bytes, more than '
                f'max_retrieved_bytes = {limit:,}: they would stay where LAMMPS runs, where their analysis cannot read '
                f'them. Give analysis_code, raise max_retrieved_bytes, or write fewer frames '
                f'({name}.overrides.dump_every)'
            )
    return None


def study_problem(inputs: AttributeDict, experiments: Mapping[str, type[ExperimentWorkChain]]) -> str | None:
    """Return a sentence if the inputs of a study contradict each other."""
    try:
        mixture = Mixture.parse(inputs['mixture'].value)
    except ValueError as error:
        return str(error)
    if problem := potential_problem(inputs, mixture):
        return problem
    engine = {'code': inputs['codes']['lmp']} if 'lmp' in inputs['codes'] else {}
    return remote_problem({**inputs, **engine}) or frames_problem(inputs, experiments)
