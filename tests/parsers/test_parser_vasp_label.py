"""Single points read from files of every kind: whole, not converged, cut, of another configuration, or not there."""

from __future__ import annotations

import os
import re
import subprocess

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_softclay.calculations.potcars import placeholder_potcar
from aiida_softclay.calculations.vasp_inputs import poscar_text
from aiida_softclay.calculations.vasp_label import folder_name
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile
from aiida_softclay.parsers.vasp_label import read_status

STATIC = {'ibrion': -1, 'nsw': 0, 'isif': 2, 'encut': 300}
RELAX = {'ibrion': 2, 'nsw': 3, 'isif': 2, 'ediffg': -1e-3}
NELM = 60


def configurations() -> list[Atoms]:
    atoms = bulk('Cu', 'fcc', a=3.9, cubic=True)
    atoms.symbols = ['Al', 'Cu', 'Al', 'Cu']
    made = []
    for seed in range(3):
        copy = atoms.copy()
        copy.rattle(0.05, seed=seed)
        made.append(copy)
    return made


@pytest.fixture(scope='module')
def written(tmp_path_factory, vasp_program):
    """vasprun.xml of three single points and three relaxations, as text."""
    folder = tmp_path_factory.mktemp('runs')
    names = []
    for kind, incar in (('static', STATIC), ('relax', RELAX)):
        for index, atoms in enumerate(configurations()):
            run = folder / f'{kind}{index}'
            run.mkdir()
            names.append(run.name)
            symbols = atoms.get_chemical_symbols()
            (run / 'POSCAR').write_text(poscar_text(atoms.cell, symbols, atoms.positions))
            (run / 'POTCAR').write_text(placeholder_potcar('Al') + placeholder_potcar('Cu'))
            (run / 'KPOINTS').write_text('mesh\n0\nGamma\n1 1 1\n')
            (run / 'INCAR').write_text(''.join(f'{key} = {value}\n' for key, value in incar.items()))
    (folder / 'list').write_text('\n'.join(names) + '\n')
    environment = {**os.environ, 'SOFTCLAY_CALCULATOR': 'ase.calculators.emt:EMT'}
    subprocess.run([vasp_program, '--folders', 'list'], cwd=folder, env=environment, check=True, capture_output=True)
    return {name: (folder / name / 'vasprun.xml').read_text() for name in names}


@pytest.fixture
def statics(written):
    return [written[f'static{index}'] for index in range(3)]


def status_text(n=3, statuses=(0, 0, 0)):
    lines = [f'begin {folder_name(i)} {100 + i}\nend {folder_name(i)} {statuses[i]} {105 + i}\n' for i in range(n)]
    return ''.join(lines)


@pytest.fixture
def parse(localhost, tmp_path):
    """Parse files as the output of a job; an entry of ``vaspruns`` that is ``None`` was not written."""
    from aiida.plugins import CalculationFactory, ParserFactory

    path = tmp_path / 'configurations.h5'
    given = configurations()
    with TrajectoryFile(path, 'w', given[0].numbers, 0.001) as trajectory:
        for step, atoms in enumerate(given):
            trajectory.append(atoms.positions, atoms.cell.array, 10 * step)
    trajectory = MdTrajectoryData.from_file(path).store()

    def run(vaspruns, status=None, outputs=(), parameters=STATIC, indices=None):
        folder = tmp_path / 'temporary'
        for index in range(3):
            target = folder / folder_name(index)
            target.mkdir(parents=True, exist_ok=True)
            (target / 'vasprun.xml').unlink(missing_ok=True)
            if index < len(vaspruns) and vaspruns[index] is not None:
                (target / 'vasprun.xml').write_text(vaspruns[index])
            (target / 'vasp_output').write_text(outputs[index] if index < len(outputs) else '')
        node = orm.CalcJobNode(
            computer=localhost, process_type=CalculationFactory('softclay.vasp_label').build_process_type()
        )
        node.set_options({'resources': {'num_machines': 1}, 'scheduler_stderr': '_scheduler-stderr.txt'})
        inputs = {'configurations': trajectory, 'parameters': orm.Dict(parameters).store()}
        if indices is not None:
            inputs['indices'] = orm.List(indices).store()
        for label, data in inputs.items():
            node.base.links.add_incoming(data, LinkType.INPUT_CALC, label)
        node.store()
        retrieved = orm.FolderData()
        text = status_text() if status is None else status
        retrieved.base.repository.put_object_from_bytes(text.encode(), 'label_status.txt')
        retrieved.base.repository.put_object_from_bytes(b'slurmstepd: no such queue\n', '_scheduler-stderr.txt')
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        return ParserFactory('softclay.vasp_label').parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(folder)
        )

    return run


def records(outputs):
    return outputs['statistics'].get_dict()['configurations']


def states(outputs):
    return [record['state'] for record in records(outputs)]


def energies(outputs):
    with outputs['frames'].open_frames() as frames:
        (view,) = frames.blocks()
        return view.energies[:]


def unconverged(text: str, step: int = 0) -> str:
    """Return a vasprun.xml whose electronic loop used up NELM at an ionic step, as VASP writes it."""
    pieces = re.split(r'(?=<scstep>)', text)
    assert f'<i type="int" name="NELM">{NELM}</i>' in text
    inner = re.search(r'<scstep>.*?</scstep>\n', text, re.DOTALL)[0]
    return ''.join(inner * (NELM - 1) + piece if number == step + 1 else piece for number, piece in enumerate(pieces))


def test_whole(parse, statics):
    outputs, node = parse(statics)
    assert node.exit_status == 0, node.exit_message
    expected = []
    for atoms in configurations():
        atoms.calc = EMT()
        expected.append(atoms.get_potential_energy())
    np.testing.assert_allclose(energies(outputs), expected, atol=1e-5)
    assert [record['wall_time_s'] for record in records(outputs)] == [5, 5, 5]


def test_order_of_the_indices_is_that_of_the_computation_only(parse, statics):
    outputs, node = parse(statics, indices=[2, 0])
    assert node.exit_status == 0, node.exit_message
    assert [record['index'] for record in records(outputs)] == [0, 2]
    assert outputs['frames'].n_frames == 2


def test_electrons_that_do_not_converge_are_left_out(parse, statics):
    outputs, node = parse([statics[0], unconverged(statics[1]), statics[2]])
    assert node.exit_status == 710
    assert 'index 1' in node.exit_message
    assert 'NELM' in node.exit_message
    assert states(outputs) == ['done', 'not_converged', 'done']
    assert outputs['frames'].n_frames == 2


def test_a_program_that_fails_says_why(parse, statics):
    words = 'EDWAV: internal error, the gradient is not orthogonal\n'
    outputs, node = parse([None, statics[1], None], status_text(statuses=(1, 0, 137)), ['', '', f'...\n{words}'])
    assert node.exit_status == 710
    assert states(outputs) == ['failed', 'done', 'failed']
    assert 'exit status 1' in records(outputs)[0]['reason']
    assert 'not orthogonal' in records(outputs)[2]['reason']
    assert records(outputs)[2]['exit_status'] == 137
    _, node = parse([None, None, None], status_text(statuses=(1, 1, 1)), [words] * 3)
    assert node.exit_status == 310
    assert 'not orthogonal' in node.exit_message


def test_a_whole_file_is_a_label_however_the_program_ended(parse, statics):
    outputs, node = parse(statics, status_text(statuses=(0, 174, 0)))
    assert node.exit_status == 0
    assert records(outputs)[1]['exit_status'] == 174


def test_vasprun_cut_anywhere(parse, statics):
    """No cut gives an error or a label."""
    text = statics[1]
    for cut in [0, 10, *range(200, len(text) - 20, len(text) // 8), text.index('</calculation>') + 30]:
        outputs, node = parse([statics[0], text[:cut], statics[2]])
        assert node.exit_status == 710, cut
        assert states(outputs) == ['done', 'failed', 'done']
        assert records(outputs)[1]['reason']


def test_damaged_bytes_give_no_error(parse, statics):
    """Whatever stands in the file, it is a label of its configuration or it is left out with a reason."""
    rng = np.random.default_rng(8)
    for _ in range(12):
        damaged = bytearray(statics[1].encode())
        start = int(rng.integers(len(damaged) - 60))
        damaged[start : start + 40] = rng.integers(32, 127, 40).astype(np.uint8).tobytes()
        outputs, _ = parse([statics[0], damaged.decode(), statics[2]])
        assert states(outputs)[::2] == ['done', 'done']
        assert records(outputs)[1]['state'] == 'done' or records(outputs)[1]['reason']


def test_job_killed_anywhere(parse, statics):
    """What was finished is kept; the rest is told apart by whether it was begun."""
    text = status_text()
    third = text.index('begin conf_000002')
    outputs, node = parse([*statics[:2], None], text[:third])
    assert node.exit_status == 400
    assert '2 of 3' in node.exit_message
    assert states(outputs) == ['done', 'done', 'not_started']
    assert outputs['frames'].n_frames == 2
    outputs, node = parse([*statics[:2], statics[2][:3000]], text[: third + len('begin conf_000002 102\n')])
    assert states(outputs) == ['done', 'done', 'killed']
    for cut in range(len(text)):
        known, whole = read_status(text[:cut]), text[:cut].split('\n')[:-1]
        assert len(known) == sum(line.startswith('begin') for line in whole)
        assert sum(run.end is not None for run in known.values()) == sum(line.startswith('end') for line in whole)
    _, node = parse([None] * 3, '')
    assert node.exit_status == 311
    assert 'no such queue' in node.exit_message


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda text, other: other, 'other positions'),
        (lambda text, other: text.replace('3.900000000000 0.0', '3.910000000000 0.0'), 'another cell'),
        (lambda text, other: text.replace('<c>Al</c>', '<c>Ni</c>'), 'other atoms'),
        (lambda text, other: re.sub(r'<varray name="stress" >.*?</varray>', '', text, flags=re.DOTALL), 'no stress'),
        (
            lambda text, other: re.sub(
                r'(<varray name="forces" >\s*<v>)[^<]*', r'\1 ************ 0.0 0.0 ', text, flags=re.DOTALL
            ),
            'not finite',
        ),
    ],
)
def test_files_that_are_not_labels_of_the_configuration(parse, statics, change, words):
    changed = change(statics[1], statics[2])
    assert changed != statics[1]
    outputs, node = parse([statics[0], changed, statics[2]])
    assert node.exit_status == 710
    assert states(outputs) == ['done', 'failed', 'done']
    assert words in records(outputs)[1]['reason']


def test_relaxations(parse, written):
    """The label is the last step's; electrons that failed on the way there do not matter, at its end they do."""
    texts = [written[f'relax{index}'] for index in range(3)]
    accurate = ' reached required accuracy - stopping structural energy minimisation\n'
    outputs, node = parse(texts, parameters=RELAX, outputs=[accurate] * 3)
    assert node.exit_status == 0, node.exit_message
    assert outputs['configurations'].n_frames == 3
    # Fewer steps than NSW without these words: it was told to stop.
    outputs, node = parse(texts, parameters={**RELAX, 'nsw': 4})
    assert node.exit_status == 711
    assert states(outputs) == ['done'] * 3
    assert [record['relaxed'] for record in records(outputs)] == [False] * 3
    assert [record['ionic_steps'] for record in records(outputs)] == [3] * 3
    outputs, node = parse(texts, parameters=RELAX, outputs=[accurate, '', ''])
    assert 'index 1, 2' in node.exit_message
    outputs, _ = parse([unconverged(texts[0], 0), unconverged(texts[1], 2), texts[2]], parameters=RELAX)
    assert states(outputs) == ['done', 'not_converged', 'done']
    # Cut in its last step: what is left ends with a step that is not the last.
    outputs, _ = parse([texts[0], texts[1][: texts[1].rindex('</calculation>')], texts[2]], parameters=RELAX)
    assert states(outputs) == ['done', 'failed', 'done']
