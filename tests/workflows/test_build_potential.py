"""From structures to a potential with the real driver (over EMT) and the real dp, and how each stage can end it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiida import orm
from ase.build import bulk
from fit_samples import TINY_MODEL

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.data.frames import FramesData
from aiida_softclay.workflows.build_potential import BuildPotentialWorkChain
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain
from aiida_softclay.workflows.melt_quench import MeltQuenchWorkChain
from aiida_softclay.workflows.protocol import ProtocolError

PAPERS = ('gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025')
SAMPLING = {
    'stages': {'heat': {'temperature_K': 300.0, 'duration_fs': 40.0}, 'hold': None, 'cool': None, 'npt': None},
    'incar': {'encut': 300}, 'plan': {'frame_stride': 1}, 'maximum_temperature_K': 600.0,
}  # fmt: skip
FIT = {
    'deepmd': {
        'model': {**TINY_MODEL, 'type_map': ['Al', 'Cu']},
        'training': {'numb_steps': 40, 'disp_freq': 20, 'save_freq': 40, 'validation_data': {'numb_btch': 1}},
    },
    'compress': False,
    'gate': {'rmse_energy_meV_atom': 1e-6, 'rmse_force_meV_A': 1e-6},
}


@pytest.fixture
def family(aiida_profile_clean):
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family('build-potential', ['Cu', 'Al', 'Li', 'Cl', 'Ga', 'F', 'Mg', 'O', 'Na'])
    return 'build-potential'


@pytest.fixture
def metal(family):
    atoms = bulk('Cu', 'fcc', a=3.8, cubic=True)
    atoms.symbols = 'CuAlCuAl'
    atoms.rattle(0.02, seed=1)
    return {'alloy': orm.StructureData(ase=atoms, label='alloy')}


@pytest.mark.engine
def test_a_potential_that_misses_its_gate_is_attached_and_refused(metal, family, vasp_emt_code, dp_code):
    from aiida.engine import run_get_node

    builder = BuildPotentialWorkChain.get_builder_from_protocol(
        {'vasp': vasp_emt_code, 'dp': dp_code}, family, structures=metal,
        overrides={'melt_quench': {'overrides': SAMPLING}, 'fit': {'overrides': FIT}},
    )  # fmt: skip
    _, node = run_get_node(builder)
    assert node.exit_status == BuildPotentialWorkChain.exit_codes.ERROR_POTENTIAL_REFUSED.status, node.exit_message
    assert node.outputs.potential.passed_gate is False
    assert 'validation' not in [link.link_label for link in node.base.links.get_outgoing().all()]
    frames = dict(node.outputs.frames)
    assert sum(frame.n_frames for frame in frames.values()) == 20
    for stage in ('sampling', 'fit'):
        check_results(node.outputs.stages[stage].get_dict())
    # The number can be traced: the potential descends from the frames that were sampled here.
    query = orm.QueryBuilder()
    query.append(FramesData, tag='frames', project='uuid')
    query.append(orm.Data, filters={'uuid': node.outputs.potential.uuid}, with_ancestors='frames')
    assert {frame.uuid for frame in frames.values()} <= set(query.all(flat=True))


def ended(status, message='reason', **outputs):
    return SimpleNamespace(
        exit_status=status, exit_message=message if status else None, is_finished_ok=status == 0, outputs=outputs
    )


class Outputs(dict):
    """Outputs that are found by name and by attribute, as AiiDA gives them."""

    __getattr__ = dict.__getitem__


@pytest.fixture
def process(family, metal, vasp_emt_code, dp_code, monkeypatch):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    builder = BuildPotentialWorkChain.get_builder_from_protocol(
        {'vasp': vasp_emt_code, 'dp': dp_code}, family, structures=metal,
        overrides={'melt_quench': {'overrides': SAMPLING}},
    )  # fmt: skip
    made = instantiate_process(get_manager().get_runner(), builder)
    made.given = {}
    monkeypatch.setattr(type(made), 'out', lambda self, name, node: self.given.update({name: node}))
    made.setup()
    return made


@pytest.mark.parametrize(
    ('status', 'with_frames', 'expected'),
    [
        (0, True, None),
        (MeltQuenchWorkChain.exit_codes.WARNING_STRUCTURES_FAILED.status, True, None),
        (MeltQuenchWorkChain.exit_codes.WARNING_STRUCTURES_FAILED.status, False, 401),
        (MeltQuenchWorkChain.exit_codes.ERROR_TOO_FEW_STRUCTURES.status, True, 401),
    ],
)
def test_sampling_may_lose_structures_but_not_too_many(process, status, with_frames, expected):
    frames = {'alloy_000': SimpleNamespace(n_frames=3)} if with_frames else {}
    process.ctx.sampling = ended(status)
    process.ctx.sampling.outputs = Outputs(frames=frames, results='numbers')
    code = process.inspect_sampling()
    assert (None if code is None else code.status) == expected
    assert set(process.given) == {*(f'frames.{name}' for name in frames), 'stages.sampling'}


@pytest.mark.parametrize(
    ('status', 'expected'),
    [(0, None), (FitPotentialWorkChain.exit_codes.ERROR_GATE_FAILED.status, 501), (310, 402)],
)
def test_how_the_fit_ended_decides(process, status, expected):
    process.ctx.fit = ended(status)
    process.ctx.fit.outputs = Outputs(results='numbers', potentials={'model_00': 'first', 'model_01': 'second'})
    code = process.inspect_fit()
    assert (None if code is None else code.status) == expected
    assert process.given['potential'] == 'first'
    assert process.given['potentials.model_01'] == 'second'


@pytest.mark.parametrize(('status', 'expected'), [(0, None), (501, 502), (401, 403)])
def test_how_the_proof_ended_decides(process, status, expected, monkeypatch):
    from aiida_softclay.workflows import build_potential

    monkeypatch.setattr(build_potential, 'collect_results', lambda *_, metadata, **stages: _Numbers(stages))
    process.ctx.potential = SimpleNamespace(type_map=['Cu', 'Al'])
    process.ctx.stages = {'sampling': orm.Dict({'context': {'engine': 'EMT'}})}
    process.ctx.validation = ended(status)
    process.ctx.validation.outputs = Outputs(results=orm.Dict({'context': {}}), curves={'parity': 'curve'})
    process.inspect_validation()
    code = process.results()
    assert (None if code is None else code.status) == expected
    assert set(process.given['results'].stages) == {'sampling', 'validation'}
    assert process.given['curves.parity'] == 'curve'


class _Numbers(dict):
    pk = 0

    def __init__(self, stages):
        super().__init__(numbers=[])
        self.stages = stages


@pytest.mark.parametrize('paper', [*PAPERS, *(f'{paper}_demo' for paper in PAPERS)])
def test_every_paper_has_its_command(paper, family, vasp_emt_code, dp_code, lmp_code):
    """Everything that a launch checks before it submits passes for every paper."""
    codes = {'vasp': vasp_emt_code, 'dp': dp_code, 'lmp': lmp_code}
    builder = BuildPotentialWorkChain.get_builder_from_protocol(codes, family, protocol=paper)
    assert BuildPotentialWorkChain.spec().inputs.validate(builder._inputs(prune=True)) is None
    sampling = BuildPotentialWorkChain.sampling_builder(builder)
    assert sampling.parameters['structures'].startswith(paper.removesuffix('_demo'))


def test_bad_input_is_named(family, vasp_emt_code, dp_code):
    codes = {'vasp': vasp_emt_code, 'dp': dp_code}

    def build(**arguments):
        builder = BuildPotentialWorkChain.get_builder_from_protocol(codes, family, **arguments)
        error = BuildPotentialWorkChain.spec().inputs.validate(builder._inputs(prune=True))
        raise ValueError('' if error is None else error.message)

    for arguments, reason in (
        ({'overrides': {'fit': {'protocol': 'nobody2020'}}}, 'fit: unknown protocol `nobody2020`'),
        ({'overrides': {'n_models': 0}}, 'n_models is 0'),
        ({'structures': 'Xx-Cl'}, 'Xx'),
        ({'structures': 'KCl'}, 'KCl'),
    ):
        with pytest.raises(ValueError, match=reason):
            build(**arguments)
    with pytest.raises(ProtocolError, match='unknown override `colour`'):
        build(overrides={'colour': 'blue'})
