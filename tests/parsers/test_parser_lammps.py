"""Every way a LAMMPS run can end gives its own exit code, and whatever is whole is kept."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from ase.build import bulk

from aiida_softclay.calculations.md_plan import MdPlan
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.parsers.lammps_files import iter_dump, read_final_dump, restart_step
from aiida_softclay.parsers.lammps_log import read_log
from aiida_softclay.parsers.lammps_results import convert_dump
from aiida_softclay.parsers.scheduler_messages import scheduler_reason

FIXTURES = Path(__file__).parent / 'fixtures'
STAGES = [
    {'name': 'relax', 'kind': 'minimise', 'relax_cell': 'iso'},
    {'name': 'heat', 'kind': 'nvt', 'duration_ps': 0.1, 'temperature_K': 30},
    {'name': 'pull', 'kind': 'npt', 'duration_ps': 0.1, 'temperature_K': 30, 'stress_GPa': {'yz': 0.01}},
]
HOT = [{'name': 'hot', 'kind': 'nve', 'duration_ps': 1.0, 'temperature_K': 10}]
PLAN = {'timestep_ps': 0.002, 'seed': 11, 'thermo_every': 10, 'dump_every': 10, 'restart_every': 20}


@pytest.fixture
def parse(localhost, tmp_path):
    """Parse a folder as the output of a run of the plan."""
    from aiida.plugins import CalculationFactory, ParserFactory

    def run(folder, stages=None, stderr='', resume=None, size=1, scheduler_status=None, options=None):
        structure = orm.StructureData(ase=bulk('Ar', 'fcc', a=5.3, cubic=True) * (size, size, size)).store()
        plan = MdPlan.from_dict({**PLAN, 'stages': stages or STAGES})
        node = orm.CalcJobNode(
            computer=localhost,
            process_type=CalculationFactory('softclay.lammps').build_process_type(),
        )
        node.set_options({'resources': {'num_machines': 1}, 'output_filename': 'lammps.out',
                          'scheduler_stderr': '_scheduler-stderr.txt', **(options or {})})  # fmt: skip
        inputs = {'structure': structure, 'plan': orm.Dict(plan.to_dict()).store(),
                  'classical__pair_lines': orm.List(['pair_style lj/cut 8.0']).store()}  # fmt: skip
        if resume:
            inputs['resume'] = orm.Dict(resume).store()
        for label, data in inputs.items():
            node.base.links.add_incoming(data, LinkType.INPUT_CALC, label)
        node.store()
        if scheduler_status is not None:
            node.set_exit_status(scheduler_status)
            node.set_exit_message('what the scheduler said.')
        retrieved = orm.FolderData()
        if (folder / 'log.lammps').is_file():
            retrieved.base.repository.put_object_from_file(str(folder / 'log.lammps'), 'log.lammps')
        retrieved.base.repository.put_object_from_bytes(stderr.encode(), '_scheduler-stderr.txt')
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        return ParserFactory('softclay.lammps').parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(folder)
        )

    return run


@pytest.fixture
def completed(tmp_path):
    """A copy of a run that completed, to be damaged."""
    return Path(shutil.copytree(FIXTURES / 'lammps_completed', tmp_path / 'run'))


def _output(outputs, namespace, name):
    return outputs[f'{namespace}.{name}'] if f'{namespace}.{name}' in outputs else outputs[namespace][name]


def statistics_of(outputs):
    return outputs['statistics'].get_dict()


def test_completed(parse, completed):
    outputs, node = parse(completed)
    assert node.exit_status == 0, node.exit_message
    assert {key for key in outputs if key.startswith('thermo')} == {
        'thermo.relax',
        'thermo.heat',
        'thermo.pull',
    } or set(outputs['thermo']) == {'relax', 'heat', 'pull'}
    statistics = outputs['statistics'].get_dict()
    assert statistics['end_reason'] == 'completed'
    assert statistics['stages']['heat']['steps'] == statistics['stages']['pull']['steps'] == 50
    assert statistics['stages']['relax']['converged']
    assert statistics['lammps_version'].startswith('22 Jul 2025')
    assert statistics['restart'] is None
    assert outputs['structure'].get_formula() == 'Ar4'


def test_stress_is_minus_the_pressure_in_gpa(parse, completed):
    outputs, _ = parse(completed)
    series = _output(outputs, 'thermo', 'heat')
    log = read_log((completed / 'log.lammps').read_text().splitlines(keepends=True))
    # One bar is 1e-4 GPa; pxx is column 13 of the table.
    pressure = np.array([row[13] for row in log.stages[1].rows])
    np.testing.assert_allclose(series.get_array('stress_xx_GPa'), -pressure * 1e-4)
    cell = series.get_array('cell')
    np.testing.assert_allclose(np.linalg.det(cell), series.get_array('volume_A3'), rtol=1e-9)
    # The heat stage follows a minimisation, which takes no time.
    assert series.get_array('time_ps')[0] == 0
    assert series.get_array('time_ps')[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ('folder', 'stages', 'status', 'words'),
    [
        ('lammps_lost_atoms', HOT, 501, 'Lost atoms: original 4 current 3'),
        ('lammps_not_finite', HOT, 502, 'Non-numeric atom coords'),
        ('lammps_no_plugin', STAGES, 321, 'LAMMPS_PLUGIN_PATH'),
        ('lammps_potential_error', STAGES, 320, 'missing.eam: No such file'),
        (
            'lammps_disk_full',
            [{'name': 'a', 'kind': 'nvt', 'duration_ps': 4, 'temperature_K': 30}],
            402,
            'No space left',
        ),
    ],
)
def test_errors(parse, folder, stages, status, words):
    outputs, node = parse(FIXTURES / folder, stages)
    assert node.exit_status == status
    assert words in node.exit_message
    assert 'statistics' in outputs


HOLD = [{'name': 'hold', 'kind': 'nvt', 'duration_ps': 1.0, 'temperature_K': 30}]


def test_runaway_temperature(parse):
    """LAMMPS stopped itself, as it does before the time limit, and the log says why."""
    outputs, node = parse(FIXTURES / 'lammps_runaway', HOLD, size=2)
    assert node.exit_status == 504
    assert 'stage hold: 1560 K at step 10, the limit is 1150 K' in node.exit_message
    assert statistics_of(outputs)['end_reason'] == 'temperature_runaway'
    assert _output(outputs, 'trajectories', 'hold').n_frames == 2
    assert 'structure' in outputs


def test_runaway_temperature_of_a_run_that_was_killed(parse, tmp_path):
    """The rows tell it, even if LAMMPS did not live to say so."""
    log = (FIXTURES / 'lammps_runaway' / 'log.lammps').read_text()
    (tmp_path / 'log.lammps').write_text(
        log[: log.index('Fix halt')] + log[log.index('\n', log.index('Fix halt')) + 1 :]
    )
    text = (tmp_path / 'log.lammps').read_text()
    (tmp_path / 'log.lammps').write_text(text[: text.index('Loop time')])
    _, node = parse(tmp_path, HOLD, size=2)
    assert node.exit_status == 504


def test_out_of_memory(parse):
    """An allocation that LAMMPS was refused, with 4 of the 16384 atoms of the run in the structure here."""
    _, node = parse(FIXTURES / 'lammps_out_of_memory', HOLD)
    assert node.exit_status == 110
    assert 'Failed to allocate 393216 bytes' in node.exit_message
    assert 'it can go on from its start only' in node.exit_message


@pytest.mark.parametrize(
    ('status', 'reason'), [(110, 'out_of_memory'), (120, 'walltime_kill'), (131, 'killed'), (140, 'node_failure')]
)
def test_what_the_scheduler_said_names_the_end(parse, completed, status, reason):
    text = (completed / 'log.lammps').read_text()
    (completed / 'log.lammps').write_text(text[: text.index('\n        90', text.index('stage=pull kind')) + 30])
    outputs, node = parse(completed, scheduler_status=status)
    assert node.exit_status == status
    assert node.exit_message.startswith('what the scheduler said; in stage pull after step 80, it can go on from step')
    assert statistics_of(outputs)['end_reason'] == reason
    assert statistics_of(outputs)['restart']['state']['temperature_K'] > 0

    (completed / 'log.lammps').unlink()
    _, node = parse(completed, scheduler_status=status)
    assert node.exit_status == status
    assert 'before LAMMPS started' in node.exit_message


def test_a_run_that_finished_is_not_judged_by_its_scheduler(parse, completed):
    """The job reached its time limit while the files were copied back, after LAMMPS had ended."""
    outputs, node = parse(completed, scheduler_status=120)
    assert node.exit_status == 0
    assert statistics_of(outputs)['end_reason'] == 'completed'


@pytest.mark.parametrize(
    ('text', 'label'),
    [
        ('=>> PBS: job killed: walltime 3613 exceeded limit 3600', 'OUT_OF_WALLTIME'),
        ('slurmstepd: error: *** JOB 1 ON n CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***', 'OUT_OF_WALLTIME'),
        ('TERM_RUNLIMIT: job killed after reaching LSF run time limit.', 'OUT_OF_WALLTIME'),
        ('=>> PBS: job killed: vmem 2146856960 exceeded limit 1073741824', 'OUT_OF_MEMORY'),
        ('slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch.', 'OUT_OF_MEMORY'),
        (
            'slurmstepd: error: *** STEP 1.0 ON n CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE FAILURE ***',
            'NODE_FAILURE',
        ),
        ('bash: line 1: 77 Killed   lmp -in input.in', None),
        ('libcudart.so.12: cannot open shared object file', None),
        ('', None),
    ],
)
def test_messages_of_schedulers(text, label):
    found = scheduler_reason(f'first line\n  {text}\n')
    assert found == (None if label is None else (f'ERROR_SCHEDULER_{label}', text))


def test_fewer_mpi_ranks_than_asked_for(parse, completed):
    """A foreign mpirun starts so many copies of a serial run, which write the same files."""
    two = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 2}, 'withmpi': True}
    outputs, node = parse(completed, options=two)
    assert node.exit_status == 323
    assert '2 MPI ranks were asked for, but LAMMPS ran with 1' in node.exit_message
    assert statistics_of(outputs)['requested']['mpi_tasks'] == 2
    _, node = parse(completed, options={**two, 'withmpi': False})
    assert node.exit_status == 0


def test_a_seam_that_does_not_fit(parse, completed):
    """The job went on from a restart file of another run."""
    log = read_log((completed / 'log.lammps').read_text().splitlines(keepends=True))
    start = next(stage for stage in log.stages if stage.name == 'pull')
    text = (completed / 'log.lammps').read_text()
    (completed / 'log.lammps').write_text(text[: text.index('softclay: begin stage=relax kind')]
                                          + text[text.index('softclay: begin stage=pull kind') :])  # fmt: skip
    row = start.rows[0]
    state = {'temperature_K': row[1], 'potential_energy_eV': row[2], 'volume_A3': row[5]}
    resume = {'stage': 'pull', 'step': 50, 'within': True, 'file': 'pull.a.restart', 'state': state}
    outputs, node = parse(completed, resume=resume)
    assert node.exit_status == 0, node.exit_message
    assert statistics_of(outputs)['seam']['differences'] == dict.fromkeys(state, 0.0)
    resume['state'] = {**state, 'potential_energy_eV': row[2] - 1.0}
    outputs, node = parse(completed, resume=resume)
    assert node.exit_status == 313
    assert 'at step 50 of stage pull: potential_energy_eV is' in node.exit_message


def test_no_log(parse, tmp_path):
    _, node = parse(tmp_path, stderr='lmp: command not found\n')
    assert node.exit_status == 310
    assert 'command not found' in node.exit_message


def test_not_finite_rows_without_an_error(parse, completed):
    log = (completed / 'log.lammps').read_text()
    rows = [line for line in log.splitlines() if line.split()[:1] == ['30'] and len(line.split()) == 21]
    broken = rows[0].split()
    broken[2] = 'nan'
    (completed / 'log.lammps').write_text(log.replace(rows[0], ' '.join(broken)))
    outputs, node = parse(completed)
    assert node.exit_status == 502
    assert _output(outputs, 'thermo', 'heat').get_array('step')[-1] == 20


def test_killed_run_can_go_on_from_a_whole_restart(parse, completed):
    """Killed at step 90: the newer restart is cut, so the run goes on from the older one."""
    text = (completed / 'log.lammps').read_text()
    begin = text.index('\n        90', text.index('stage=pull kind'))
    (completed / 'log.lammps').write_text(text[: begin + 30])
    steps = {which: restart_step(completed / f'pull.{which}.restart') for which in 'ab'}
    newest = max(steps, key=steps.get)
    data = (completed / f'pull.{newest}.restart').read_bytes()
    (completed / f'pull.{newest}.restart').write_bytes(data[:-3])
    outputs, node = parse(completed)
    assert node.exit_status == 401
    restart = outputs['statistics'].get_dict()['restart']
    assert restart['stage'] == 'pull'
    assert restart['within']
    assert restart['step'] == min(steps.values()) == 80
    assert _output(outputs, 'thermo', 'pull').get_array('step')[-1] == 80


def test_restart_beyond_the_last_frame_is_not_used(parse, completed):
    """Frames that were lost in a buffer must not leave a hole in the trajectory."""
    text = (completed / 'log.lammps').read_text()
    (completed / 'log.lammps').write_text(text[: text.index('Loop time', text.index('stage=pull kind'))])
    dump = completed / 'pull.dump.bin'
    size = dump.stat().st_size // 6
    dump.write_bytes(dump.read_bytes()[: 2 * size + 10])
    outputs, node = parse(completed)
    assert node.exit_status == 401
    # Two frames, at steps 50 and 60, are left, and the restarts inside the stage are at 80 and 100.
    assert outputs['statistics'].get_dict()['restart'] == {
        'stage': 'pull', 'step': 50, 'within': False, 'file': 'heat.end.restart',
    }  # fmt: skip


def test_missing_frames_of_a_completed_run(parse, completed):
    dump = completed / 'pull.dump.bin'
    dump.write_bytes(dump.read_bytes()[:-1])
    outputs, node = parse(completed)
    assert node.exit_status == 312
    assert 'pull has 5 frames, expected 6' in node.exit_message
    assert _output(outputs, 'trajectories', 'pull').n_frames == 5


def test_resumed_stage_drops_what_is_off_its_strides(parse, completed):
    """A job that goes on writes its first row and frame at any step; the stage keeps its strides."""
    plan = [{**stage, 'dump_every': 15, 'thermo_every': 15} if stage['name'] == 'heat' else stage for stage in STAGES]
    outputs, _ = parse(completed, plan, resume={'stage': 'relax', 'step': 0, 'within': True, 'file': 'relax.a.restart'})
    assert _output(outputs, 'trajectories', 'heat').n_frames == 2
    assert list(_output(outputs, 'thermo', 'heat').get_array('step')) == [0, 30, 50]


def test_log_cut_anywhere(parse, completed):
    """No cut of the log gives a traceback, and no row is half read."""
    text = (completed / 'log.lammps').read_text()
    whole = {row[0]: row for stage in read_log(text.splitlines(keepends=True)).stages for row in stage.rows}
    last = 0
    text = text[: text.index('softclay: completed\n')]
    for cut in range(0, len(text), 101):
        log = read_log(text[:cut].splitlines(keepends=True))
        rows = [row for stage in log.stages[1:] for row in stage.rows]
        assert len(rows) >= last
        last = len(rows)
        assert all(len(row) == 21 for row in rows)
        assert not log.completed
        for row in rows:
            assert row[0] in whole
    for cut in range(0, len(text), len(text) // 6):
        (completed / 'log.lammps').write_text(text[:cut])
        _, node = parse(completed)
        assert node.exit_status in (310, 311, 401)


def test_dump_cut_anywhere(completed):
    """Whole frames are kept and half ones are not."""
    source = completed / 'heat.dump.bin'
    data = source.read_bytes()
    frames = list(iter_dump(source))
    assert [frame.step for frame in frames] == [0, 10, 20, 30, 40, 50]
    size = len(data) // len(frames)
    cut_file = completed / 'cut.bin'
    for cut in range(0, len(data), 11):
        cut_file.write_bytes(data[:cut])
        kept = list(iter_dump(cut_file))
        assert len(kept) == cut // size
        for one, other in zip(kept, frames, strict=False):
            np.testing.assert_array_equal(one.positions, other.positions)


def test_trajectory_of_some_elements_knows_the_order_of_all(completed, tmp_path):
    n_atoms = len(next(iter_dump(completed / 'heat.dump.bin')).positions)
    plan = MdPlan.from_dict({**PLAN, 'stages': STAGES, 'dump_elements': ['Ar']})
    symbols = ['Xe', *['Ar'] * n_atoms, 'Kr', 'Xe']
    convert_dump(plan, 'heat', completed, tmp_path / 'heat.h5', symbols, {'program': 'LAMMPS'})
    with TrajectoryFile(tmp_path / 'heat.h5') as written:
        assert set(written.symbols) == {'Ar'}
        assert written.left_out == {'Xe': 2, 'Kr': 1}
        assert written.element_order == ['Xe', 'Ar', 'Kr']
    convert_dump(plan, 'heat', completed, tmp_path / 'all.h5', ['Ar'] * n_atoms, {'program': 'LAMMPS'})
    with TrajectoryFile(tmp_path / 'all.h5') as written:
        assert written.engine == {'program': 'LAMMPS'}
        assert written.element_order == ['Ar']


def test_damaged_bytes_end_the_dump(completed):
    data = bytearray((completed / 'heat.dump.bin').read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = b'\xff' * 400
    (completed / 'bad.bin').write_bytes(bytes(data))
    assert 2 <= len(list(iter_dump(completed / 'bad.bin'))) <= 3


def test_final_dump_cut_anywhere(completed):
    data = (completed / 'final.dump').read_bytes()
    assert read_final_dump(completed / 'final.dump').step == 100
    for cut in range(0, len(data) - 30, 13):
        (completed / 'cut.dump').write_bytes(data[:cut])
        assert read_final_dump(completed / 'cut.dump') is None


def test_restart_header(completed):
    assert restart_step(completed / 'pull.end.restart') == 100
    assert restart_step(completed / 'heat.end.restart') == 50
    data = (completed / 'pull.end.restart').read_bytes()
    for cut in (0, 5, 40, 100, len(data) - 1):
        (completed / 'cut.restart').write_bytes(data[:cut])
        assert restart_step(completed / 'cut.restart') is None
    assert restart_step(completed / 'missing.restart') is None
