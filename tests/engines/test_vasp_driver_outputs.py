"""The output files: read by the programs that read VASP's, whole or cut, and ended in every way a run can end."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

MD = {'IBRION': 0, 'NSW': 6, 'POTIM': 2, 'TEBEG': 300, 'MDALGO': 2, 'SMASS': 0, 'ENCUT': 500, 'ISPIN': 2}
KINDS = {
    'static': ({'NSW': 0, 'IBRION': -1}, 1),
    'md': (MD, 6),
    'npt': ({**MD, 'MDALGO': 3, 'LANGEVIN_GAMMA': '10 10', 'LANGEVIN_GAMMA_L': 5, 'ISIF': 3, 'PSTRESS': 20}, 6),
    'relax': ({'IBRION': 2, 'NSW': 4, 'ISIF': 3, 'EDIFFG': -0.001}, 4),
}
KILOBAR_A3 = 1602.1766208


@pytest.fixture
def finished(make_case, alloy):
    """Return a function that runs one of the kinds and returns its folder and number of frames."""

    def finish(kind, **environment):
        incar, n_frames = KINDS[kind]
        case = make_case(kind)
        case.write(alloy, incar)
        assert case.run(**environment) == 0, case.output
        return case, n_frames

    return finish


def reference(case):
    """Positions, energy, forces and stress of the first frame from the calculator itself."""
    from ase.calculators.emt import EMT
    from ase.io import read

    atoms = read(case.folder / 'POSCAR')
    atoms.calc = EMT()
    return atoms


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.filterwarnings('ignore')
def test_ase_reads(finished, kind):
    from ase.io import read

    case, n_frames = finished(kind)
    wanted = reference(case)
    for name in ('vasprun.xml', 'OUTCAR'):
        frames = read(case.folder / name, index=':')
        assert len(frames) == n_frames
        assert frames[0].get_chemical_symbols() == ['Cu'] * 4 + ['Au'] * 4
        assert frames[0].get_potential_energy() == pytest.approx(wanted.get_potential_energy(), abs=1e-7)
        assert np.allclose(frames[0].get_forces(), wanted.get_forces(), atol=1e-7)
        assert np.allclose(frames[0].get_stress(), wanted.get_stress(), atol=1e-7)
        assert np.allclose(frames[0].cell, wanted.cell, atol=1e-8)
    assert len(read(case.folder / 'XDATCAR', index=':')) == n_frames
    last = read(case.folder / 'CONTCAR')
    assert (last.get_velocities() != 0).any() == (kind in ('md', 'npt'))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.filterwarnings('ignore')
def test_pymatgen_reads(finished, kind):
    from pymatgen.io.vasp import Poscar
    from pymatgen.io.vasp.outputs import Oszicar, Outcar, Vasprun, Xdatcar

    case, n_frames = finished(kind)
    wanted = reference(case)
    vasprun = Vasprun(case.folder / 'vasprun.xml')
    assert vasprun.nionic_steps == n_frames
    assert vasprun.vasp_version.startswith('6.')
    assert vasprun.generator['program'].strip().lower() == 'softclay-vasp'
    assert vasprun.run_type == 'ML'
    assert vasprun.atomic_symbols == ['Cu'] * 4 + ['Au'] * 4
    step = vasprun.ionic_steps[0]
    assert np.allclose(step['forces'], wanted.get_forces(), atol=1e-7)
    assert np.allclose(step['stress'], -wanted.get_stress(voigt=False) * KILOBAR_A3, atol=1e-3)
    assert step['electronic_steps'][-1]['e_fr_energy'] == pytest.approx(wanted.get_potential_energy(), abs=1e-7)
    if kind == 'npt':
        assert step['e_fr_energy'] - wanted.get_potential_energy() == pytest.approx(
            20 * wanted.get_volume() / KILOBAR_A3, rel=1e-5
        )
    outcar = Outcar(case.folder / 'OUTCAR')
    assert outcar.final_fr_energy == pytest.approx(vasprun.ionic_steps[-1]['electronic_steps'][-1]['e_fr_energy'])
    assert not outcar.is_stopped
    assert outcar.run_stats['Elapsed time (sec)'] >= 0
    assert len(Xdatcar(case.folder / 'XDATCAR').structures) == n_frames
    assert len(Oszicar(case.folder / 'OSZICAR').ionic_steps) == n_frames
    contcar = Poscar.from_file(case.folder / 'CONTCAR')
    assert np.allclose(contcar.structure.frac_coords % 1, vasprun.final_structure.frac_coords % 1, atol=1e-10)


@pytest.mark.parametrize('kind', KINDS)
def test_dpdata_reads(finished, kind):
    dpdata = pytest.importorskip('dpdata')
    case, n_frames = finished(kind)
    wanted = reference(case)
    for name, form in (('vasprun.xml', 'vasp/xml'), ('OUTCAR', 'vasp/outcar')):
        system = dpdata.LabeledSystem(str(case.folder / name), fmt=form)
        assert len(system) == n_frames
        assert list(system['atom_names']) == ['Cu', 'Au']
        assert np.allclose(system['forces'][0], wanted.get_forces(), atol=1e-7)
        virial = -wanted.get_stress(voigt=False) * wanted.get_volume()
        assert np.allclose(system['virials'][0], virial, atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_unmodified_aiida_vasp_reads(finished, kind, localhost):
    """The parser of aiida-vasp 5 finds a finished run and all nodes that workflows ask for."""
    from aiida.common import LinkType
    from aiida.orm import CalcJobNode, Dict, FolderData
    from aiida.plugins import ParserFactory

    case, n_frames = finished(kind)
    node = CalcJobNode(computer=localhost, process_type='aiida.calculations:vasp.vasp')
    incar = {key.lower(): value for key, value in KINDS[kind][0].items()}
    include = {'include_node': ['trajectory', 'energies', 'kpoints'], 'energy_type': ['energy_free']}
    for label, value in (('parameters', Dict(incar)), ('settings', Dict({'parser_settings': include}))):
        node.base.links.add_incoming(value.store(), link_type=LinkType.INPUT_CALC, link_label=label)
    node.store()
    retrieved = FolderData(tree=str(case.folder))
    retrieved.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='retrieved')
    retrieved.store()
    outputs, parsing = ParserFactory('vasp.vasp').parse_from_node(node, store_provenance=False)
    misc = outputs['misc'].get_dict()
    assert misc['run_status']['finished']
    assert misc['run_status']['last_iteration_index'] == [n_frames, 1]
    assert misc['version'].startswith('6.')
    assert not [item for item in misc.get('notifications', []) if item['kind'] == 'ERROR']
    assert misc['run_stats']['elapsed_time'] >= 0
    # A relaxation that reaches NSW is reported as not converged (702), everything else as good (0).
    assert parsing.exit_status == (702 if kind == 'relax' else 0)
    assert misc['run_status']['electronic_converged']
    wanted = reference(case)
    trajectory = outputs['trajectory']
    assert len(trajectory.get_array('energy_free_electronic')) == n_frames
    assert np.allclose(trajectory.get_array('forces')[0], wanted.get_forces(), atol=1e-7)
    assert trajectory.get_array('energy_free_electronic')[0] == pytest.approx(wanted.get_potential_energy(), abs=1e-7)


def test_no_two_runs_write_the_same_bytes_but_the_same_physics(make_case, copper):
    contents = []
    for name in ('a', 'b'):
        case = make_case(name)
        case.write(copper, MD)
        assert case.run() == 0
        contents.append((case.folder / 'vasprun.xml').read_text())
    assert contents[0] != contents[1]
    assert (case.folder / 'CONTCAR').read_text() == (case.folder.parent / 'a' / 'CONTCAR').read_text()


def test_files_say_who_wrote_them(finished):
    case, _ = finished('md')
    for name in ('vasprun.xml', 'OUTCAR', 'vasp_output'):
        text = (case.folder / name).read_text()
        assert 'not density-functional theory' in text
        assert 'EMT (ase ' in text
        assert 'this is not VASP' in text
    assert 'without effect on a model potential: encut, ispin' in (case.folder / 'OUTCAR').read_text()


@pytest.mark.filterwarnings('ignore')
def test_frame_stride(make_case, copper):
    """Only every third step is in the large files; OSZICAR and the physics have all."""
    import re

    from ase.io import read

    all_frames, strided = make_case('all'), make_case('strided')
    for case, environment in ((all_frames, {}), (strided, {'SOFTCLAY_FRAME_STRIDE': '3'})):
        case.write(copper, {**MD, 'NSW': 9})
        assert case.run(**environment) == 0
    whole, part = read(all_frames.folder / 'vasprun.xml', index=':'), read(strided.folder / 'vasprun.xml', index=':')
    assert len(part) == len(read(strided.folder / 'OUTCAR', index=':')) == 3
    assert np.allclose([a.positions for a in part], [a.positions for a in whole[::3]], atol=1e-9)
    assert re.findall(r'<calculation step="(\d+)"', (strided.folder / 'vasprun.xml').read_text()) == ['1', '4', '7']
    assert (strided.folder / 'CONTCAR').read_text() == (all_frames.folder / 'CONTCAR').read_text()
    assert np.array_equal(strided.oszicar(), all_frames.oszicar())


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('fraction', [0.5, 0.77, 0.93])
def test_cut_files_remain_readable(make_case, copper, fraction):
    from ase.io import read
    from pymatgen.io.vasp.outputs import Vasprun

    case = make_case()
    case.write(copper, {**MD, 'NSW': 12})
    assert case.run() == 0
    for name in ('vasprun.xml', 'OUTCAR'):
        content = (case.folder / name).read_bytes()
        (case.folder / name).write_bytes(content[: int(fraction * len(content))])
    n_xml = len(read(case.folder / 'vasprun.xml', index=':'))
    assert 0 < n_xml < 12
    assert 0 < len(read(case.folder / 'OUTCAR', index=':')) < 12
    assert Vasprun(case.folder / 'vasprun.xml', exception_on_bad_xml=False).nionic_steps in (n_xml, n_xml - 1)


def stop_case(make_case, copper, mode='md', **extra):
    case = make_case()
    incar = {**MD, 'NSW': 100000} if mode == 'md' else {'IBRION': 1, 'NSW': 100000, 'EDIFFG': -1e-30}
    case.write(copper, {**incar, **extra})
    return case


def check_stopped(case, reason):
    """It stopped early with all files closed, and CONTCAR is the state after the last recorded step."""
    from xml.etree import ElementTree

    outcar = (case.folder / 'OUTCAR').read_text()
    assert f'soft stop encountered!  aborting job ... ({reason}' in outcar
    ElementTree.parse(case.folder / 'vasprun.xml')  # noqa: S314
    assert reason in (case.folder / 'vasp_output').read_text()
    return outcar


def test_stopcar(make_case, copper):
    case = stop_case(make_case, copper)
    (case.folder / 'STOPCAR').write_text('LSTOP = .TRUE.\n')
    assert case.run() == 0
    assert 'General timing and accounting informations' in check_stopped(case, 'STOPCAR')
    assert len(case.oszicar()) == 1
    (case.folder / 'STOPCAR').write_text('LSTOP = .FALSE.\n')
    (case.folder / 'INCAR').write_text((case.folder / 'INCAR').read_text().replace('100000', '3'))
    assert case.run() == 0
    assert len(case.oszicar()) == 3


def test_time_limit(make_case, copper):
    case = stop_case(make_case, copper)
    start = time.monotonic()
    assert case.run(SOFTCLAY_TIME_LIMIT='3') == 0
    assert time.monotonic() - start < 3.5
    assert 'General timing and accounting informations' in check_stopped(case, 'time limit of 3 s')
    state = case.contcar().state
    assert state['steps'] == [len(case.oszicar())]


def test_relaxation_cut_short_does_not_look_converged(make_case, copper):
    case = stop_case(make_case, copper, 'relax')
    assert case.run(SOFTCLAY_TIME_LIMIT='2') == 0
    assert 'timing and accounting' not in check_stopped(case, 'time limit')


@pytest.mark.engine
@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.filterwarnings('ignore')
def test_killed(make_case, copper, vasp_program, how):
    """SIGTERM ends a run cleanly; after SIGKILL whole frames and a whole CONTCAR with velocities remain."""
    from ase.io import read

    case = stop_case(make_case, copper)
    process = case.start(vasp_program)
    oszicar = case.folder / 'OSZICAR'
    deadline = time.monotonic() + 60
    while not (oszicar.exists() and len(oszicar.read_text().splitlines()) > 80):
        assert time.monotonic() < deadline, (case.folder / 'vasp_output').read_text()
        time.sleep(0.1)
    process.send_signal(how)
    assert process.wait(60) == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    frames = read(case.folder / 'vasprun.xml', index=':')
    assert len(frames) >= 80
    contcar = case.contcar()
    if how == signal.SIGTERM:
        check_stopped(case, 'SIGTERM')
        assert contcar.state['steps'] == [len(frames)]
    if contcar.velocities is not None:
        # CONTCAR belongs to a step: one time step of its velocities behind it lies the frame of that step.
        step = int(contcar.state['steps'][0])
        frame = frames[step - 1]
        moved = np.linalg.solve(frame.cell.array.T, (contcar.positions - frame.positions).T)
        moved = (moved - np.round(moved)).T @ frame.cell.array
        assert np.abs(moved - 2.0 * contcar.velocities).max() < 0.01


def test_a_run_that_explodes_says_so(make_case, copper):
    """Atoms on top of each other: no traceback, no endless file of nan."""
    copper.positions[1] = copper.positions[0] + 1e-7
    case = make_case()
    case.write(copper, MD)
    status = case.run()
    assert status in (0, 5)
    assert 'Traceback' not in case.output
    if status == 5:
        assert 'not finite' in case.output


def test_writing_costs_about_a_millisecond(make_case):
    """The overhead of integrator and files for 108 atoms, beside a calculator that costs nothing."""
    from ase.build import bulk

    atoms = bulk('Cu', 'fcc', a=3.61, cubic=True) * (3, 3, 3)
    case = make_case()
    case.write(atoms, {**MD, 'NSW': 200})
    start = time.process_time()
    assert (
        case.run(SOFTCLAY_CALCULATOR='ase.calculators.lj:LennardJones', SOFTCLAY_CALCULATOR_KWARGS='{"rc": 0.5}') == 0
    )
    total = time.process_time() - start
    evaluations, per_step = case.output.rsplit('\n', 2)[-2].split(' evaluations, ')
    inside = int(evaluations) * float(per_step.split()[0])
    # Measured: 1.2 ms on a busy machine.
    assert (total - inside) / 200 < 2e-3
