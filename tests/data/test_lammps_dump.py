"""Text dumps against plain Python, MDAnalysis and each other's columns; what is cut or wrong."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import atomic_numbers
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_softclay.data.lammps_dump import DumpError, import_text_dump, iter_text_dump
from aiida_softclay.data.text_numbers import NOT_A_NUMBER, POWERS_OF_TEN, TRUNCATED, parse_table
from aiida_softclay.data.trajectory_file import TrajectoryFile

CELL = np.array([[9.0, 0.0, 0.0], [1.5, 8.0, 0.0], [-2.0, 0.7, 7.0]])
CORNER = np.array([-1.0, 0.5, 2.0])
#: What LAMMPS writes for this cell: bounds of the box around it, and the tilts.
BOUNDS = ((-1.0 - 2.0, 8.0 + 1.5, 1.5), (0.5, 8.5 + 0.7, -2.0), (2.0, 9.0, 0.7))
ELEMENTS = {1: atomic_numbers['Li'], 2: atomic_numbers['Cl']}


def frames(n=3, atoms=6, seed=0):
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(scale=2.0, size=(n, atoms, 3)), axis=0) + rng.random((atoms, 3)) @ CELL
    return walk, np.array([1, 2] * (atoms // 2))


def write(path, columns, positions, types, *, order=None, step=100):
    """Write a dump as LAMMPS does, atoms in any order."""
    lines = []
    for index, frame in enumerate(positions):
        images = np.floor(frame @ np.linalg.inv(CELL)).astype(int)
        inside = frame - images @ CELL
        values = {
            'id': np.arange(1, len(frame) + 1), 'type': types, 'element': np.array(['Li', 'Cl'])[types - 1],
            **dict(zip(('xu', 'yu', 'zu'), (frame + CORNER).T, strict=True)),
            **dict(zip(('x', 'y', 'z'), (inside + CORNER).T, strict=True)),
            **dict(zip(('ix', 'iy', 'iz'), images.T, strict=True)),
            **dict(zip(('xs', 'ys', 'zs'), (inside @ np.linalg.inv(CELL)).T, strict=True)),
        }  # fmt: skip
        lines += ['ITEM: TIMESTEP', str(index * step), 'ITEM: NUMBER OF ATOMS', str(len(frame))]
        lines += ['ITEM: BOX BOUNDS xy xz yz pp pp pp', *(' '.join(f'{v:.16e}' for v in row) for row in BOUNDS)]
        lines.append('ITEM: ATOMS ' + ' '.join(columns))
        rng = np.random.default_rng(index)
        for row in rng.permutation(len(frame)) if order is None else order:
            words = [values[name][row] for name in columns]
            lines.append(' '.join(f'{w:.10g}' if isinstance(w, float) else str(w) for w in words) + ' ')
    path.write_text('\n'.join(lines) + '\n')
    return path


@pytest.mark.parametrize(
    'columns',
    [
        ('id', 'type', 'xu', 'yu', 'zu'),
        ('type', 'id', 'element', 'x', 'y', 'z', 'ix', 'iy', 'iz'),
        ('id', 'type', 'xs', 'ys', 'zs', 'ix', 'iy', 'iz'),
    ],
)
def test_all_columns_tell_the_same_path(tmp_path, columns):
    """Unwrapped, wrapped and scaled coordinates of a tilted cell off the origin give one trajectory, sorted by id."""
    positions, types = frames()
    source = write(tmp_path / 'run.dump', columns, positions, types)
    assert import_text_dump(source, tmp_path / 'out.h5', ELEMENTS, 0.002, engine={'program': 'LAMMPS'}) == 3
    with TrajectoryFile(tmp_path / 'out.h5') as found:
        assert np.allclose(found.positions[:], positions, atol=2e-5)
        assert np.allclose(found.cells[:], CELL, atol=1e-9)
        assert found.steps[:].tolist() == [0, 100, 200]
        assert found.symbols == ['Li', 'Cl'] * 3
        assert found.engine['program'] == 'LAMMPS'


def test_mdanalysis_reads_the_same_numbers(tmp_path):
    mdanalysis = pytest.importorskip('MDAnalysis')
    positions, types = frames(atoms=40)
    source = write(tmp_path / 'run.dump', ('id', 'type', 'xu', 'yu', 'zu'), positions, types)
    universe = mdanalysis.Universe(
        str(source), format='LAMMPSDUMP', topology_format='LAMMPSDUMP', lammps_coordinate_convention='unwrapped'
    )
    for ours, theirs in zip(iter_text_dump(source), universe.trajectory, strict=True):
        order = np.argsort(ours.columns['id'])
        raw = np.stack([ours.columns[name] for name in ('xu', 'yu', 'zu')], axis=1)[order]
        # MDAnalysis counts from the corner of the cell, as positions do here.
        expected = theirs.positions if np.allclose(theirs.positions, ours.positions[order], atol=1e-4) else raw
        assert np.allclose(ours.positions[order], expected, atol=1e-4)
        assert np.allclose(np.linalg.norm(ours.cell, axis=1), theirs.dimensions[:3], atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=8),
    st.sampled_from('efgr'),
)
def test_numbers_are_those_of_python(values, form):
    words = [repr(value) if form == 'r' else format(value, f'.12{form}') for value in values]
    text = np.frombuffer((' '.join(words) + '\n').encode(), dtype=np.uint8)
    out = np.empty((1, len(values)))
    end = parse_table(text, 0, 1, np.arange(len(values)), out, POWERS_OF_TEN)
    assert end == len(text)
    expected = [float(word) for word in words]
    usual = [value == 0.0 or 1e-290 < abs(value) < 1e290 for value in expected]
    assert np.allclose(out[0][usual], np.array(expected)[usual], rtol=4e-15, atol=0)


def test_a_cut_file_gives_its_whole_frames(tmp_path):
    """Wherever a dump is cut, the frames before are read and the broken one is not."""
    positions, types = frames()
    source = write(tmp_path / 'run.dump', ('id', 'type', 'xu', 'yu', 'zu'), positions, types)
    content = source.read_bytes()
    second = content.index(b'ITEM: TIMESTEP', 20)
    for cut in (second + 3, second + 60, second + 250, len(content) - 1):
        source.write_bytes(content[:cut])
        expected = content[:cut].count(b'ITEM: TIMESTEP') - 1 or 1
        assert len(list(iter_text_dump(source))) == min(expected, 2)


@pytest.mark.parametrize(
    ('columns', 'change', 'sentence'),
    [
        (('id', 'type', 'x', 'y', 'z'), None, 'needs the columns xu yu zu'),
        (('type', 'xu', 'yu', 'zu'), None, 'lacks the column id'),
        (('id', 'type', 'xu', 'yu', 'zu'), (b'ITEM: TIMESTEP', b'ITEM: TIME'), 'no text dump'),
        (('id', 'xu', 'yu', 'zu', 'type'), (b' 2 \n', b' 7 \n'), 'no element was named for type 7'),
        (('id', 'type', 'xu', 'yu', 'zu'), (b' 1 ', b' nan '), 'something that is no number'),
    ],
)
def test_what_cannot_be_imported_says_why(tmp_path, columns, change, sentence):
    positions, types = frames()
    source = write(tmp_path / 'run.dump', columns, positions, types)
    if change:
        source.write_bytes(source.read_bytes().replace(*change))
    with pytest.raises(DumpError, match=sentence):
        import_text_dump(source, tmp_path / 'out.h5', ELEMENTS, 0.001)


def test_ends_of_tables_are_told_apart():
    out = np.empty((1, 2))
    columns = np.arange(2)
    cut, wrong = (b'1.5 2', b'1.5', b''), (b'1.5 x\n', b'1 2 3\n', b'1 2e3.\n')
    for text, expected in [(text, TRUNCATED) for text in cut] + [(text, NOT_A_NUMBER) for text in wrong]:
        assert parse_table(np.frombuffer(text, dtype=np.uint8), 0, 1, columns, out, POWERS_OF_TEN) == expected
    assert parse_table(np.frombuffer(b'-1.5e-3\t+2E2 \r\n', dtype=np.uint8), 0, 1, columns, out, POWERS_OF_TEN) == 15
    assert out.tolist() == [[-0.0015, 200.0]]


def test_command_makes_a_node_or_a_file(tmp_path, aiida_profile):
    from aiida import orm

    from aiida_softclay.cli.trajectory import trajectory

    positions, types = frames()
    source = write(tmp_path / 'run.dump', ('id', 'type', 'xu', 'yu', 'zu'), positions, types)
    words = ['import', str(source), '--types', 'Li,Cl', '--timestep', '0.001']
    result = CliRunner().invoke(trajectory, words)
    assert result.exit_code == 0, result.output
    node = orm.load_node(int(result.output.rpartition('<')[2].partition('>')[0]))
    assert (node.n_frames, node.symbol_counts) == (3, {'Cl': 3, 'Li': 3})
    assert node.engine['imported_from'] == 'run.dump'
    assert CliRunner().invoke(trajectory, [*words, '-o', str(tmp_path / 'x.h5')]).exit_code == 0
    failed = CliRunner().invoke(trajectory, [*words[:3], 'Li', '--timestep', '0.001'])
    assert failed.exit_code != 0
    assert 'no element was named for type 2' in failed.output
    assert 'is no element' in CliRunner().invoke(trajectory, [*words[:3], 'Li,Qq', '--timestep', '1']).output
