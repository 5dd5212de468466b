"""Melt–quench of several structures with the real driver over EMT, one failing on purpose, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_softclay.calculations.aimd_plan import AimdPlan
from aiida_softclay.structures.crystals import phase
from aiida_softclay.workflows.melt_quench import MeltQuenchWorkChain
from aiida_softclay.workflows.melt_quench_layout import entry_elements, lay_out

PAPERS = ('gupta2023', 'yang2024', 'you2025', 'dai2023', 'qyang2025')
#: Heated at constant cell, quenched from there, and from there again held at constant pressure.
STAGES = {
    'heat': {'temperature_K': 300.0, 'duration_fs': 24.0},
    'hold': None,
    'cool': {'temperature_end_K': 500.0, 'duration_fs': None, 'rate_K_per_ps': 20000.0},
    'npt': {'start_from': 'heat', 'duration_fs': 16.0},
}
OVERRIDES = {'stages': STAGES, 'incar': {'encut': 300}, 'plan': {'frame_stride': 2}, 'max_iterations': 2}


@pytest.fixture
def family(aiida_profile_clean):
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family('melt-quench', ['Cu', 'Al', 'Ni', 'Li', 'Cl', 'Ga', 'F', 'Mg', 'O', 'Na'])
    return 'melt-quench'


def small(symbols: str, lattice: float) -> Atoms:
    atoms = bulk('Cu', 'fcc', a=lattice, cubic=True)
    atoms.symbols = symbols
    atoms.rattle(0.02, seed=1)
    return atoms


@pytest.fixture
def metals(family):
    """Two sound crystals and one whose atoms sit on each other."""
    from aiida.orm import StructureData

    crowded = small('Cu4', 3.6)
    crowded.positions[1] = crowded.positions[0] + [0.5, 0.3, 0.0]
    atoms = {'copper': small('Cu4', 3.6), 'alloy': small('CuAlCuAl', 3.8), 'crowded': crowded}
    return {label: StructureData(ase=value, label=label) for label, value in atoms.items()}


def builder_of(code, structures, family, **arguments):
    arguments.setdefault('overrides', OVERRIDES)
    return MeltQuenchWorkChain.get_builder_from_protocol(code, structures, family, **arguments)


def problem(builder):
    error = MeltQuenchWorkChain.spec().inputs.validate(builder._inputs(prune=True))
    return '' if error is None else str(error.message)


@pytest.mark.engine
def test_one_failing_structure_does_not_lose_the_others(metals, family, vasp_emt_code):
    from aiida.engine import run_get_node

    from aiida_softclay.analysis.quantity import check_results
    from aiida_softclay.data.frames_view import FramesView, aimd_view

    overrides = {**OVERRIDES, 'temperatures': {'alloy': 1200.0}, 'maximum_temperature_K': 900.0,
                 'minimum_success_share': 0.6}  # fmt: skip
    builder = builder_of(vasp_emt_code, metals, family, overrides=overrides, max_concurrent_jobs=2)
    _, node = run_get_node(builder)
    assert node.exit_status == 701, (node.exit_status, node.exit_message)
    assert 'crowded (' in node.exit_message

    summary = node.outputs.summary.get_dict()
    assert (summary['n_structures'], summary['n_succeeded']) == (3, 2)
    assert set(summary['failures']) == {'crowded'}
    assert summary['failures']['crowded']['name'] in ('TEMPERATURE_RUNAWAY', 'NOT_FINITE')
    assert {label: entry['maximum_temperature_K'] for label, entry in summary['structures'].items()} == {
        'copper': 900.0, 'alloy': 1200.0, 'crowded': 900.0,
    }  # fmt: skip
    assert set(dict(node.outputs.structures)) == {'copper', 'alloy'}
    frames = dict(node.outputs.frames)
    assert {'copper_000', 'copper_001', 'copper_002', 'alloy_002'} <= set(frames)
    assert sum(frame.n_frames for frame in frames.values()) == summary['n_frames']
    check_results(node.outputs.results.get_dict())
    assert 'EMT' in str(node.outputs.results['context']['engine'])

    # One structure as one trajectory: every second of its 12 + cool + 8 steps, the sources told apart.
    branches = {child.label: child for child in node.called if child.process_label == 'AimdWorkChain'}
    copper, alloy = branches['copper'], branches['alloy']
    plan = AimdPlan.from_dict(alloy.inputs.plan.get_dict())
    # From 1200 K to 500 K at 20 000 K/ps is 35 fs: 18 steps of 2 fs to the nearest.
    assert [round(segment.duration_fs / 2) for segment in plan.segments] == [12, 18, 8]
    view = aimd_view(copper)
    steps = AimdPlan.from_dict(copper.inputs.plan.get_dict()).total_steps
    assert view.steps.tolist() == list(range(0, steps, 2))
    assert [(source['label'], source['stage']) for source, _ in view] == [
        ('copper', 'heat'), ('copper', 'cool'), ('copper', 'npt'),
    ]  # fmt: skip
    assert view[3].get_potential_energy() == pytest.approx(copper.outputs.series.get_array('free_energy_eV')[6])
    everything = FramesView(frames)
    assert everything.n_frames == summary['n_frames']

    # The stage at constant pressure starts from the melt, not from the quenched crystal.
    from aiida.orm import CalcJobNode

    heat, cool, npt = [child for child in copper.called if isinstance(child, CalcJobNode)]
    assert npt.inputs.structure.uuid == cool.inputs.structure.uuid == heat.outputs.structure.uuid
    assert npt.inputs.velocities.uuid == heat.outputs.velocities.uuid
    assert npt.inputs.parameters['isif'] == 3
    seams = copper.outputs.seams['seams']
    assert [seam['start_from'] for seam in seams] == [None, None, 'heat']
    assert copper.outputs.seams['continuous']
    assert abs(seams[2]['energy_jump_meV_per_atom']) < 20.0
    volume = copper.outputs.series.get_array('volume_A3')
    assert np.ptp(volume[:-8]) == 0.0
    assert np.ptp(volume[-8:]) > 0.0


def test_structures_that_cannot_be_built_are_named(family, vasp_emt_code):
    """No job is started, and the share of the successes decides how the workchain ends."""
    from aiida.engine import run_get_node

    entry = {'label': 'slab', 'kind': 'slab', 'mixture': '2LiCl-GaF3', 'n_atoms': 16, 'max_strain': 1e-6}
    _, node = run_get_node(builder_of(vasp_emt_code, [entry], family))
    assert node.exit_status == 401
    assert '0 of 1 structures came through' in node.exit_message
    assert node.outputs.summary['failures']['slab']['name'] == 'CANNOT_BE_BUILT'
    assert node.outputs.results['numbers'] == []


@pytest.mark.parametrize(
    ('structures', 'overrides', 'sentence'),
    [
        ('gupta1999', {}, "'gupta1999' is no reference set"),
        ('Xe-Ar', {}, 'no salt of the elements'),
        ('LiCl', {'temperatures': {'LiCl': -5.0}}, 'structure LiCl: segment heat: temperature_end_K is -5'),
        ('LiCl', {'stages': {'hold': {'temperature_K': -300.0}}}, 'temperature_K is -300'),
        ('LiCl', {'stages': {'cool': {'rate_K_per_ps': -100.0, 'duration_fs': None}}}, 'rate_K_per_ps is -100'),
        ('LiCl', {'stages': {'cool': {'rate_K_per_ps': 0, 'duration_fs': None}}}, 'rate_K_per_ps is 0'),
        ('LiCl', {'stages': {'cool': {'rate_K_per_ps': 100.0}}}, 'both duration_fs and rate_K_per_ps'),
        ('LiCl', {'stages': {'hold': None}}, 'starts from `hold`, which is no segment before it'),
        ('LiCl', {'stages': {'hold': {'pressure': 1.0}}}, '`pressure` is not known here'),
        ('LiCl', {'temperatures': {'LiF': 500.0}}, 'temperatures names LiF, which is not sampled'),
        ('LiCl', {'minimum_success_share': 80}, 'minimum_success_share is 80'),
        ('LiCl', {'incar': {'tebeg': 300}}, 'the plan decides TEBEG'),
        ('LiAlCl4', {}, 'no potential for Al'),
    ],
)
def test_bad_input_is_refused_before_submission(family, vasp_emt_code, structures, overrides, sentence):
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family('poor', ['Li', 'Cl', 'Ga', 'F'])
    builder = MeltQuenchWorkChain.get_builder_from_protocol
    try:
        found = problem(builder(vasp_emt_code, structures, 'poor', overrides=overrides))
    except ValueError as error:
        found = str(error)
    assert sentence in found


def test_own_structures_need_a_temperature(metals, family, vasp_emt_code):
    assert 'structure alloy: stage heat: temperature_end_K is `maximum`' in problem(
        builder_of(vasp_emt_code, metals, family)
    )


@pytest.mark.parametrize('paper', PAPERS)
def test_the_protocols_of_every_paper_give_plans(paper, family, vasp_emt_code):
    for protocol in (paper, f'{paper}_demo'):
        builder = MeltQuenchWorkChain.get_builder_from_protocol(vasp_emt_code, None, family, protocol=protocol)
        assert problem(builder) == ''
        branches = lay_out(builder.parameters.get_dict())
        assert len(branches) >= 2
        for branch in branches:
            assert branch.plan.total_steps > 0
            assert {'you2025': 1.0, 'dai2023': 1.0, 'qyang2025': 1.0}.get(paper, 2.0) == branch.plan.timestep_fs
            for run in branch.plan.runs():
                branch.plan.incar(run, branch.elements)
        total = sum(branch.plan.n_frames for branch in branches)
        assert total < 5000 if protocol.endswith('_demo') else total > 30_000


def test_published_schedules():
    def plan(protocol, structure, **overrides):
        values = MeltQuenchWorkChain.get_protocol_inputs(protocol, overrides)
        stages = [{'name': name, **stage} for name, stage in values['stages'].items()]
        (branch,) = lay_out({**values, 'stages': stages, 'structures': structure})
        return branch.plan

    gupta = plan('gupta2023', 'LiCl')
    assert [(segment.name, segment.ensemble, segment.duration_fs) for segment in gupta.segments] == [
        ('heat', 'nvt', 10_000.0), ('hold', 'nvt', 30_000.0), ('cool', 'nvt', 10_000.0), ('npt', 'npt', 40_000.0),
    ]  # fmt: skip
    assert gupta.parent(gupta.segments[3]) == 'hold'
    assert gupta.segments[1].temperature_K == pytest.approx(1.5 * 878.0, abs=5.0)
    heated = plan('gupta2023', 'LiCl', temperatures={'LiCl': 1700.0})
    assert heated.segments[0].temperature_end_K == heated.segments[3].temperature_K == 1700.0

    crystal = {'label': 'salt', 'kind': 'crystal', 'crystal': 'LiAlCl4', 'maximum_temperature_K': 600.0}
    melt, quench = plan('you2025', crystal).segments
    assert (melt.temperature_K, melt.duration_fs, melt.relax_before) == (600.0, 10_000.0, 'ions')
    assert (quench.temperature_K, quench.duration_fs, quench.temperature_end_K) == (300.0, 10_000.0, None)
    melt, quench, room = plan('dai2023', crystal).segments
    assert (melt.temperature_K, melt.duration_fs) == (600.0, 30_000.0)
    # 300 K at 100 K/ps is 3 ps.
    assert (quench.temperature_K, quench.temperature_end_K, quench.duration_fs) == (600.0, 300.0, 3000.0)
    assert quench.relax_before == 'cell'
    assert (room.temperature_K, room.duration_fs) == (300.0, 50_000.0)


def test_elements_are_known_without_building():
    from aiida_softclay.workflows.sampling import layout_structures

    for paper in PAPERS:
        for entry in layout_structures(paper, 1):
            assert len(entry_elements(entry)) >= 1, entry.label
    (licl,) = layout_structures('LiCl', 1)
    assert entry_elements(licl) == ['Cl', 'Li']
    assert set(phase('Li3GaF6').formula) >= set('LGF')
    slab = next(entry for entry in layout_structures('gupta2023', 1) if entry.kind == 'slab')
    assert entry_elements(slab) == ['Cl', 'F', 'Ga', 'Li']
