"""Building a data set: planted broken and repeated frames are counted, shares are exact, order of files is nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from frame_samples import make_block, write_frames

from aiida_softclay.data.frames_dataset import shares_between
from aiida_softclay.data.frames_file import FramesFile, IncompatibleFramesError, build_dataset

SYMBOLS = ('Li', 'Cl', 'Ga', 'F')


def write_stages(path, seed, label, stages, symbols=SYMBOLS, virials=True, **options):
    """Write ``{stage: n_frames}`` of one label, one source record a stage."""
    with FramesFile(path, 'w', **options) as frames:
        for number, (stage, n_frames) in enumerate(stages.items()):
            block = make_block(symbols, n_frames=n_frames, seed=100 * seed + number, virials=virials)
            frames.append(block, {'label': label, 'stage': stage})
    return path


def configurations(path):
    """Return the set of (energy, label, stage, positions) of a file."""
    with FramesFile(path) as frames:
        sources = frames.sources
        return {
            (float(energy), sources[index]['label'], sources[index].get('stage', ''), positions.tobytes())
            for view in frames.blocks()
            for energy, index, positions in zip(view.energies, view.source_index, view.positions, strict=True)
        }


def break_frames(path, broken):
    """Overwrite single numbers of the first block, ``{dataset: {frame: value}}``, behind the back of the checks."""
    with FramesFile(path, 'a') as frames:
        view = next(frames.blocks())
        for name, values in broken.items():
            for frame, value in values.items():
                rows = np.array(view.datasets[name][frame])
                rows[(0,) * rows.ndim] = value
                view.datasets[name][frame] = rows


@pytest.fixture
def three_files(tmp_path):
    """100 frames in three files: two structures with stages, and a second composition."""
    return [
        write_stages(tmp_path / 'x.h5', 1, 'crystal', {'heat': 20, 'hold': 30, 'quench': 10}),
        write_stages(tmp_path / 'a.h5', 2, 'slab', {'heat': 10, 'hold': 10}),
        write_stages(tmp_path / 'm.h5', 3, 'crystal', {'hold': 20}, symbols=('Mg', 'Cl', 'Cl')),
    ]


def test_all_frames_are_split_exactly(tmp_path, three_files):
    """80/20 of 100 frames, in every stratum, disjoint and complete."""
    report = build_dataset(three_files, tmp_path / 't.h5', tmp_path / 'v.h5', training_fraction=0.8, seed=4)
    training, validation = configurations(tmp_path / 't.h5'), configurations(tmp_path / 'v.h5')
    assert (len(training), len(validation)) == (80, 20)
    assert not training & validation
    assert training | validation == set().union(*(configurations(path) for path in three_files))
    assert report['counts'] == {
        'given': 100, 'non_finite': 0, 'beyond_force': 0, 'beyond_pressure': 0, 'duplicates': 0, 'usable': 100,
        'drawn': 100, 'training': 80, 'validation': 20,
    }  # fmt: skip
    shares = {(s['formula'], s['label'], s['stage']): (s['training'], s['validation']) for s in report['strata']}
    assert shares == {
        ('GaLiClF', 'crystal', 'heat'): (16, 4),
        ('GaLiClF', 'crystal', 'hold'): (24, 6),
        ('GaLiClF', 'crystal', 'quench'): (8, 2),
        ('GaLiClF', 'slab', 'heat'): (8, 2),
        ('GaLiClF', 'slab', 'hold'): (8, 2),
        ('MgCl2', 'crystal', 'hold'): (16, 4),
    }
    assert report['engine']['functional'] == 'PE'
    assert report['energy_kind'] == 'e_fr_energy'
    assert 'positive in compression' in report['virial_convention']


def test_drawing_keeps_the_proportions(tmp_path, three_files):
    report = build_dataset(three_files, tmp_path / 't.h5', tmp_path / 'v.h5', n_frames=50, seed=4)
    assert [s['drawn'] for s in report['strata']] == [10, 15, 5, 5, 5, 10]
    assert (report['counts']['training'], report['counts']['validation']) == (40, 10)
    more = build_dataset(three_files, tmp_path / 't2.h5', tmp_path / 'v2.h5', n_frames=1000, seed=4)
    assert more['counts']['drawn'] == 100, 'no more than there are'


def test_neither_order_nor_distribution_over_files_matters(tmp_path, three_files):
    """The same bytes for every order of the files; the same frames if the files are cut up otherwise; seeds differ."""
    hashes, sets = set(), set()
    for number, inputs in enumerate((three_files, three_files[::-1], [three_files[i] for i in (1, 2, 0)])):
        paths = tmp_path / f't{number}.h5', tmp_path / f'v{number}.h5'
        build_dataset(inputs, *paths, n_frames=50, seed=4)
        hashes.add(tuple(path.read_bytes() for path in paths))
        sets.add(tuple(frozenset(configurations(path)) for path in paths))
    assert len(hashes) == 1
    one = tmp_path / 'one.h5'
    with FramesFile(one, 'w') as frames:
        for path in three_files[::-1]:
            with FramesFile(path) as origin:
                for view in origin.blocks():
                    for row in reversed(range(view.n_frames)):
                        block = view.read(row, row + 1)
                        block.provenance = {'energy_kind': origin.energy_kind, 'engine': origin.engine}
                        frames.append(block, origin.sources[view.source_index[row]])
    build_dataset([one], tmp_path / 't.h5', tmp_path / 'v.h5', n_frames=50, seed=4)
    sets.add(tuple(frozenset(configurations(tmp_path / name)) for name in ('t.h5', 'v.h5')))
    assert len(sets) == 1
    build_dataset([one], tmp_path / 't5.h5', tmp_path / 'v5.h5', n_frames=50, seed=5)
    assert configurations(tmp_path / 't5.h5') != configurations(tmp_path / 't.h5')


def test_a_grown_data_set_keeps_its_sides(tmp_path, three_files):
    """Frames added later do not move what was validated on into training, so that committees stay comparable."""
    build_dataset(three_files[:2], tmp_path / 't.h5', tmp_path / 'v.h5', seed=4)
    build_dataset(three_files, tmp_path / 't2.h5', tmp_path / 'v2.h5', seed=4)
    assert configurations(tmp_path / 'v.h5') <= configurations(tmp_path / 'v2.h5')


def test_broken_frames_are_dropped_and_counted(tmp_path):
    """Numbers planted by hand: 3 not finite, 2 of too large a force, 1 of too large a pressure."""
    path = write_stages(tmp_path / 'a.h5', 1, 'melt', {'hold': 40})
    break_frames(
        path,
        {
            'forces': {3: np.nan, 7: 51.0, 8: -51.0, 9: 49.0},
            'positions': {4: np.inf},
            'energies': {5: np.nan, 3: np.nan},
            # 300 eV on one of three diagonal components in 273 Å³ are 59 GPa.
            'virials': {10: 300.0, 7: 300.0},
        },
    )
    bounds = {'max_force_eV_A': 50.0, 'max_pressure_GPa': 50.0}
    report = build_dataset([path], tmp_path / 't.h5', tmp_path / 'v.h5', **bounds)
    counts = report['counts']
    assert [counts[key] for key in ('given', 'non_finite', 'beyond_force', 'beyond_pressure', 'usable')] == [
        40, 3, 2, 1, 34,
    ]  # fmt: skip
    kept = configurations(tmp_path / 't.h5') | configurations(tmp_path / 'v.h5')
    assert len(kept) == 34
    with FramesFile(path) as frames:
        energies = next(frames.blocks()).energies[:]
    assert {row[0] for row in kept} == set(np.delete(energies, [3, 4, 5, 7, 8, 10]).tolist())
    unbound = build_dataset([path], tmp_path / 't2.h5', tmp_path / 'v2.h5')
    assert unbound['counts']['usable'] == 37


def test_pressure_bound_is_that_of_the_virial(tmp_path):
    """16.02 eV in 1000 Å³ on each diagonal component are 2.567 GPa; frames without virials have no pressure."""
    with FramesFile(tmp_path / 'a.h5', 'w') as frames:
        for virials in (True, False):
            block = make_block(n_frames=4, seed=int(virials), virials=virials)
            block.cells = np.repeat(np.eye(3)[None] * 10, 4, axis=0)
            if virials:
                block.virials = np.eye(3) * 16.0218 * np.array([1, -1, 2, -2])[:, None, None]
            frames.append(block, {'label': 'a'})
    for bound, beyond in ((2.566, 4), (2.568, 2), (5.2, 0)):
        report = build_dataset([tmp_path / 'a.h5'], tmp_path / 't.h5', tmp_path / 'v.h5', max_pressure_GPa=bound)
        assert report['counts']['beyond_pressure'] == beyond
    assert report['without_virial'] == 4


def test_duplicates_across_files(tmp_path):
    """A file given twice, a seam frame and a relabelled one: one of each is kept, with a virial where there is one."""
    first, second = make_block(n_frames=10, seed=1), make_block(n_frames=10, seed=2)
    second.positions[0], second.cells[0], second.energies[0] = first.positions[9], first.cells[9], first.energies[9]
    second.positions[1], second.cells[1] = first.positions[3], first.cells[3]
    second.energies[1] = first.energies[3] + 0.1
    bare = make_block(n_frames=2, seed=3, virials=False)
    bare.positions[0], bare.cells[0], bare.energies[0] = first.positions[5], first.cells[5], first.energies[5]
    paths = [
        write_frames(tmp_path / 'a.h5', [(first, 'melt')]),
        write_frames(tmp_path / 'copy.h5', [(first, 'melt')]),
        write_frames(tmp_path / 'b.h5', [(second, 'melt'), (bare, 'melt')]),
    ]
    for order in (paths, paths[::-1]):
        report = build_dataset(order, tmp_path / 't.h5', tmp_path / 'v.h5')
        assert report['counts']['duplicates'] == 13
        assert report['counts']['usable'] == 19
        assert report['duplicates_of_other_energy'] == 1
        assert report['without_virial'] == 1
    kept = build_dataset(paths, tmp_path / 't.h5', tmp_path / 'v.h5', drop_duplicates=False)
    assert (kept['counts']['duplicates'], kept['counts']['drawn']) == (0, 32)


def test_the_same_positions_of_other_atoms_are_no_duplicates(tmp_path):
    blocks = [make_block(symbols, n_frames=5, seed=1) for symbols in (SYMBOLS, ('Na', 'Cl', 'Ga', 'F'))]
    path = write_frames(tmp_path / 'a.h5', [(block, 'x') for block in blocks])
    assert build_dataset([path], tmp_path / 't.h5', tmp_path / 'v.h5')['counts']['duplicates'] == 0


def test_every_label_is_in_validation(tmp_path):
    """One large structure and 30 of two frames: each small one is on both sides; a lone frame is trained on."""
    parts = [(make_block(n_frames=200, seed=99), 'large'), (make_block(n_frames=1, seed=98), 'lone')]
    parts += [(make_block(n_frames=2, seed=seed), f'small {seed}') for seed in range(30)]
    path = write_frames(tmp_path / 'a.h5', parts)
    report = build_dataset([path], tmp_path / 't.h5', tmp_path / 'v.h5', training_fraction=0.9, n_frames=120)
    rows = {row['label']: row for row in report['strata']}
    assert report['counts']['drawn'] == 120
    assert all(rows[f'small {seed}'][side] == 1 for seed in range(30) for side in ('training', 'validation'))
    assert (rows['lone']['training'], rows['lone']['validation']) == (1, 0)
    assert rows['large']['drawn'] == 59
    with pytest.raises(ValueError, match=r'60 frames cannot cover all structures.*at least 63'):
        build_dataset([path], tmp_path / 't.h5', tmp_path / 'v.h5', n_frames=60)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'training_fraction': 1.0}, r'training_fraction is 1\.0: .*not tested'),
        ({'training_fraction': 0}, 'training_fraction is 0'),
        ({'n_frames': 1}, 'n_frames is 1'),
        ({'n_frames': 10.0}, r'n_frames is 10\.0'),
        ({'seed': -1}, 'seed is -1'),
        ({'max_force_eV_A': 0}, 'max_force_eV_A is 0'),
        ({'max_force_eV_A': 1e-9}, 'none of the 100 frames can be used'),
        ({'drop_duplicates': 'no'}, "drop_duplicates is 'no'"),
        ({'maximum': 3}, 'unknown parameters maximum: known are n_frames'),
        ({'type_map': ['Li', 'Cl', 'Mg']}, 'the frames contain F, Ga, which the type map Li, Cl, Mg lacks'),
    ],
)
def test_bad_parameters(tmp_path, three_files, parameters, message):
    with pytest.raises(ValueError, match=message):
        build_dataset(three_files, tmp_path / 't.h5', tmp_path / 'v.h5', **parameters)


def test_nothing_for_validation_and_no_files(tmp_path):
    path = write_frames(tmp_path / 'a.h5', [(make_block(n_frames=1, seed=seed), f's{seed}') for seed in range(5)])
    with pytest.raises(ValueError, match='no structure has two usable frames'):
        build_dataset([path], tmp_path / 't.h5', tmp_path / 'v.h5')
    with pytest.raises(ValueError, match='no frames to build'):
        build_dataset([], tmp_path / 't.h5', tmp_path / 'v.h5')


def test_mixed_functionals_are_refused(tmp_path, three_files):
    block = make_block(n_frames=5, seed=9, engine={'program': 'vasp', 'version': '6.4.2', 'functional': 'PS'})
    other = write_frames(tmp_path / 'other.h5', [(block, 'x')])
    with pytest.raises(IncompatibleFramesError, match='different engines'):
        build_dataset([*three_files, other], tmp_path / 't.h5', tmp_path / 'v.h5')


@pytest.mark.parametrize('seed', range(20))
def test_shares_are_largest_remainders_within_bounds(seed):
    """Against a search over all distributions of small numbers: no other is closer to the exact shares."""
    import itertools

    rng = np.random.default_rng(seed)
    weights = {key: int(value) for key, value in zip('abcd', rng.integers(1, 8, 4), strict=True)}
    total = int(rng.integers(1, sum(weights.values()) + 1))
    least = {key: int(rng.integers(0, 2)) for key in weights}
    result = shares_between(weights, total, least, weights)
    exact = {key: weight * total / sum(weights.values()) for key, weight in weights.items()}

    def distance(shares):
        return sum((share - exact[key]) ** 2 for key, share in zip(weights, shares, strict=True))

    possible = [
        shares
        for shares in itertools.product(*(range(least[key], weight + 1) for key, weight in weights.items()))
        if sum(shares) == total
    ]
    if not possible:
        assert result == least
        return
    assert sum(result.values()) == total
    assert distance(result.values()) == pytest.approx(min(distance(shares) for shares in possible))


MEMORY = """
import resource, sys
from aiida_softclay.data.frames_file import build_dataset
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
build_dataset(sys.argv[3:], sys.argv[1], sys.argv[2], n_frames=4000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_is_bounded(tmp_path):
    """128 MB of frames need less than 100 MB: a few slabs and 40 bytes a frame."""
    paths = []
    for number in range(2):
        paths.append(tmp_path / f'{number}.h5')
        with FramesFile(paths[-1], 'w') as frames:
            for seed in range(10):
                block = make_block(('Li',) * 400, n_frames=660, seed=20 * number + seed)
                frames.append(block, {'label': f'{seed}'})
    command = [sys.executable, '-c', MEMORY, str(tmp_path / 't.h5'), str(tmp_path / 'v.h5'), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sum(path.stat().st_size for path in paths) > 120e6
    assert float(done.stdout) < 100
