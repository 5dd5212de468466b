"""The frames file: round trips, invariants of append, select and split, damage, memory and determinism."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from frame_samples import ENGINE, make_block, write_frames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiida_softclay.data.frames_file import (
    DamagedFileError,
    FrameBlock,
    FramesFile,
    IncompatibleFramesError,
    InvalidFramesError,
    merge_files,
    select,
    split,
)

SETTINGS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SPECIES = [('Li', 'Cl'), ('Cl', 'Li'), ('Li', 'Cl', 'Ga', 'F')]


def energies(path):
    """Return the energies, which are unique to each frame, as a sorted list."""
    with FramesFile(path) as frames:
        return sorted(value for view in frames.blocks() for value in view.energies[:].tolist())


def test_round_trip(frames_path):
    with FramesFile(frames_path) as frames:
        views = list(frames.blocks())
        assert frames.n_frames == 25
        assert [view.n_frames for view in views] == [17, 5, 3]
        assert frames.formulas == ['GaLiClF', 'LiCl']
        assert frames.elements == ['Li', 'F', 'Cl', 'Ga']
        assert frames.engine == ENGINE
        assert frames.energy_kind == 'e_fr_energy'
        assert [source['label'] for source in frames.sources] == ['melt', 'quench']
        expected = make_block(n_frames=7, seed=2)
        back = views[0].read(10, 17)
        assert views[0].source_index[:].tolist() == [0] * 10 + [1] * 7
    np.testing.assert_array_equal(back.energies, expected.energies)
    np.testing.assert_array_equal(back.cells, expected.cells)
    np.testing.assert_allclose(back.positions, expected.positions, atol=1e-6)
    np.testing.assert_allclose(back.forces, expected.forces, atol=1e-6)
    np.testing.assert_allclose(back.virials, expected.virials, atol=1e-6)
    np.testing.assert_allclose(back.temperature, expected.temperature)


def test_append_to_existing(frames_path):
    with FramesFile(frames_path, 'a') as frames:
        frames.append(make_block(('Li', 'Cl'), n_frames=4, seed=9), {'label': 'melt'})
        frames.append(make_block(('Li', 'Cl'), n_frames=2, seed=10, virials=False), {'label': 'static', 'stage': 's'})
    with FramesFile(frames_path) as frames:
        views = list(frames.blocks())
        assert [view.n_frames for view in views] == [17, 5, 7, 2]
        assert views[3].virials is None
        assert frames.sources[-1] == {'label': 'static', 'stage': 's'}
        with pytest.raises(ValueError, match='open for reading'):
            frames.append(make_block(), {'label': 'x'})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'positions': np.zeros((10, 3, 3))}, r'positions has the shape \(10, 3, 3\), expected \(10, 4, 3\)'),
        ({'virials': np.zeros((9, 3, 3))}, 'virials has the shape'),
        ({'atomic_numbers': np.array([3, 17, 300, 9])}, 'whole numbers from 1'),
        ({'atomic_numbers': np.array([3, 17, 0, 9])}, 'whole numbers from 1'),
        ({'atomic_numbers': np.array([])}, 'at least one atom'),
        ({'temperature': np.full(10, -5.0)}, 'negative or infinite temperature'),
    ],
)
def test_broken_blocks_are_refused(tmp_path, change, message):
    block = make_block()
    for name, value in change.items():
        setattr(block, name, value)
    with FramesFile(tmp_path / 'a.h5', 'w') as frames:
        with pytest.raises(InvalidFramesError, match=message):
            frames.append(block, {'label': 'x'})
        assert frames.n_frames == 0


@pytest.mark.parametrize('name', ['positions', 'energies', 'forces', 'cells', 'virials'])
def test_frames_that_are_not_finite_are_named_by_index(tmp_path, name):
    block = make_block()
    getattr(block, name)[[3, 7]] = np.nan
    with FramesFile(tmp_path / 'a.h5', 'w') as frames, pytest.raises(InvalidFramesError, match=f'{name}.*index 3, 7'):
        frames.append(block, {'label': 'x'})


def test_flat_cell_and_unknown_symbol_are_refused():
    block = make_block()
    block.cells[2, 2] = 0
    with pytest.raises(InvalidFramesError, match=r'without volume.*index 2'):
        block.validated()
    with pytest.raises(InvalidFramesError, match='unknown chemical symbols: Xx'):
        FrameBlock.from_symbols(['Li', 'Xx'])


@SETTINGS
@given(data=st.data())
def test_appending_in_pieces_gives_the_same_content(tmp_path, data):
    """However frames are cut into appends, the content and its hash are the same."""
    blocks = [make_block(species, n_frames=6, seed=number) for number, species in enumerate(SPECIES)]
    whole = write_frames(tmp_path / 'whole.h5', [(block, 'x') for block in blocks])
    pieces = []
    for block in blocks:
        cut = data.draw(st.integers(0, 6))
        for part in (slice(0, cut), slice(cut, 6)):
            if part.start < part.stop:
                names = ('positions', 'cells', 'energies', 'forces', 'virials', 'temperature')
                arrays = {name: getattr(block, name)[part] for name in names}
                pieces.append((FrameBlock(block.atomic_numbers, **arrays, provenance=block.provenance), 'x'))
    order = data.draw(st.permutations(range(len(SPECIES))))
    keys = [block.atomic_numbers.tobytes() for block in blocks]
    pieces.sort(key=lambda piece: order[keys.index(piece[0].atomic_numbers.tobytes())])
    cut = write_frames(tmp_path / 'cut.h5', pieces)
    with FramesFile(whole) as first, FramesFile(cut) as second:
        assert first.content_hash() == second.content_hash()


@SETTINGS
@given(
    sizes=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12), st.sampled_from('abc')), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32),
)
def test_split_invariants(tmp_path, sizes, fraction, seed):
    """Nothing is lost or doubled, and every composition with two frames is on both sides."""
    parts = [(make_block(SPECIES[kind], n, seed=i), label) for i, (kind, n, label) in enumerate(sizes)]
    path = write_frames(tmp_path / 'all.h5', parts)
    outputs = tmp_path / 'training.h5', tmp_path / 'validation.h5'
    totals = {kind: sum(n for k, n, _ in sizes if k == kind) for kind, _, _ in sizes}
    if max(totals.values()) < 2:
        with pytest.raises(ValueError, match='nothing would be left'):
            split(path, *outputs, fraction, seed)
        return
    counts = split(path, *outputs, fraction, seed)
    assert sorted(energies(outputs[0]) + energies(outputs[1])) == energies(path)
    assert counts['training'] == len(energies(outputs[0]))
    assert counts['validation'] == len(energies(outputs[1]))
    for block in counts['blocks']:
        total = block['training'] + block['validation']
        assert block['training'] >= 1
        assert (block['validation'] >= 1) == (total >= 2)
        assert abs(block['validation'] - total * (1 - fraction)) <= 1
    with FramesFile(path) as whole, FramesFile(outputs[1]) as held:
        assert (whole.engine, whole.energy_kind) == (held.engine, held.energy_kind)


def test_split_keeps_each_frame_with_its_origin_and_is_seeded(frames_path, tmp_path):
    outputs = [tmp_path / f'{name}.h5' for name in 'abcd']
    split(frames_path, outputs[0], outputs[1], 0.8, 5)
    split(frames_path, outputs[2], outputs[3], 0.8, 5)
    assert outputs[1].read_bytes() == outputs[3].read_bytes()
    split(frames_path, outputs[2], outputs[3], 0.8, 6)
    assert energies(outputs[1]) != energies(outputs[3])
    origin = {}
    with FramesFile(frames_path) as frames:
        for view in frames.blocks():
            for energy, index, row in zip(view.energies[:], view.source_index[:], view.positions[:], strict=True):
                origin[energy] = frames.sources[index]['label'], row
    with FramesFile(outputs[1]) as frames:
        for view in frames.blocks():
            for energy, index, row in zip(view.energies[:], view.source_index[:], view.positions[:], strict=True):
                assert origin[energy][0] == frames.sources[index]['label']
                np.testing.assert_array_equal(origin[energy][1], row)
        # 10 frames of 'melt' and 7 of 'quench' in the first block: 3 for validation, 2 + 1.
        first = next(iter(frames.blocks()))
        labels = [frames.sources[index]['label'] for index in first.source_index[:]]
    assert sorted(labels) == ['melt', 'melt', 'quench']


@pytest.mark.parametrize('fraction', [0, 1, -0.1, 1.5, float('nan')])
def test_split_refuses_fractions_that_leave_nothing(frames_path, tmp_path, fraction):
    with pytest.raises(ValueError, match='training fraction'):
        split(frames_path, tmp_path / 'a.h5', tmp_path / 'b.h5', fraction)


@pytest.mark.parametrize('stratified', [True, False])
def test_select(frames_path, tmp_path, stratified):
    everything = energies(frames_path)
    for n in (1, 12, 25):
        assert select(frames_path, tmp_path / 'a.h5', n, 3, stratified) == n
        select(frames_path, tmp_path / 'b.h5', n, 3, stratified)
        chosen = energies(tmp_path / 'a.h5')
        assert len(set(chosen)) == n
        assert set(chosen) <= set(everything)
        assert chosen == energies(tmp_path / 'b.h5')
    for n in (0, 26):
        with pytest.raises(ValueError, match='between 1 and the 25'):
            select(frames_path, tmp_path / 'a.h5', n, 3)
    with pytest.raises(ValueError, match='seed'):
        select(frames_path, tmp_path / 'a.h5', 1, -3)


def test_select_is_uniform(tmp_path):
    """Each of 10 frames is drawn with probability 3/10: 100 seeds give 30 ± 4.6 each (5 sigma: ± 23)."""
    path = write_frames(tmp_path / 'all.h5', [(make_block(n_frames=10), 'x')])
    counts = dict.fromkeys(energies(path), 0)
    for seed in range(100):
        select(path, tmp_path / 'some.h5', 3, seed)
        for energy in energies(tmp_path / 'some.h5'):
            counts[energy] += 1
    assert all(7 < count < 53 for count in counts.values())


def test_merge(frames_path, tmp_path):
    other = write_frames(tmp_path / 'other.h5', [(make_block(('Li', 'Cl'), n_frames=4, seed=20), 'new')])
    assert merge_files([frames_path, other], tmp_path / 'merged.h5') == 29
    assert energies(tmp_path / 'merged.h5') == sorted(energies(frames_path) + energies(other))
    with FramesFile(tmp_path / 'merged.h5') as frames:
        assert [source['label'] for source in frames.sources] == ['melt', 'quench', 'new']
    with pytest.raises(ValueError, match='no frames to merge'):
        merge_files([], tmp_path / 'x.h5')


@pytest.mark.parametrize(
    ('provenance', 'message'),
    [
        ({'energy_kind': 'e_0_energy'}, 'different kinds'),
        ({'engine': {**ENGINE, 'functional': 'PS'}}, "functional is 'PE' in one and 'PS'"),
        ({'engine': {'program': 'softclay-vasp', 'version': '1', 'model': 'CHGNet 0.3.0'}}, 'different engines'),
        ({'engine': {**ENGINE, 'ivdw': '10'}}, 'ivdw is None in one'),
    ],
)
def test_different_energy_surfaces_do_not_mix(frames_path, tmp_path, provenance, message):
    block = make_block(n_frames=2, **provenance)
    other = write_frames(tmp_path / 'other.h5', [(block, 'x')])
    with pytest.raises(IncompatibleFramesError, match=message):
        merge_files([frames_path, other], tmp_path / 'merged.h5')
    with FramesFile(frames_path, 'a') as frames, pytest.raises(IncompatibleFramesError, match=message):
        frames.append(block, {'label': 'x'})


def test_versions_are_collected_and_pseudopotentials_compared(tmp_path):
    engines = [
        {**ENGINE, 'version': '6.4.2', 'potentials': {'Li': 'PAW_PBE Li_sv', 'Cl': 'PAW_PBE Cl'}},
        {**ENGINE, 'version': '6.3.0', 'potentials': {'Ga': 'PAW_PBE Ga_d', 'Cl': 'PAW_PBE Cl'}},
        {**ENGINE, 'version': '6.3.0', 'potentials': {'Li': 'PAW_PBE Li'}},
    ]
    paths = [
        write_frames(tmp_path / f'{i}.h5', [(make_block(n_frames=2, engine=e), 'x')]) for i, e in enumerate(engines)
    ]
    merge_files(paths[:2], tmp_path / 'm.h5')
    with FramesFile(tmp_path / 'm.h5') as frames:
        assert frames.engine['version'] == '6.3.0, 6.4.2'
        assert set(frames.engine['potentials']) == {'Li', 'Cl', 'Ga'}
    with pytest.raises(IncompatibleFramesError, match='pseudopotentials of Li'):
        merge_files(paths, tmp_path / 'm.h5')


def test_same_content_same_bytes(tmp_path):
    parts = [(make_block(), 'x'), (make_block(('Li', 'Cl')), 'y')]
    first = write_frames(tmp_path / 'a.h5', parts).read_bytes()
    time.sleep(1.1)
    assert write_frames(tmp_path / 'b.h5', parts).read_bytes() == first


def test_hash_sees_every_number(tmp_path):
    def content_hash(change=None, label='x', **provenance):
        block = make_block(**provenance)
        if change:
            array = getattr(block, change)
            array.reshape(-1)[-1] += 1e-3
        with FramesFile(write_frames(tmp_path / 'a.h5', [(block, label)])) as frames:
            return frames.content_hash()

    names = ('positions', 'cells', 'energies', 'forces', 'virials', 'temperature')
    hashes = [content_hash(), content_hash(label='y'), content_hash(energy_kind='e_0_energy')]
    hashes += [content_hash(name) for name in names]
    assert len(set(hashes)) == len(hashes)
    assert content_hash() == hashes[0]


def test_damaged_files(frames_path, tmp_path):
    data = frames_path.read_bytes()
    cases = {'empty': b'', 'text': b'hello' * 1000, 'cut': data[: len(data) // 2]}
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DamagedFileError):
            FramesFile(path)
    import h5py

    with h5py.File(tmp_path / 'other.h5', 'w') as file:
        file['x'] = 1
    with pytest.raises(DamagedFileError, match='not a labelled-frames file'):
        FramesFile(tmp_path / 'other.h5')
    with pytest.raises(FileNotFoundError, match='there is no file'):
        FramesFile(tmp_path / 'missing.h5')
    with FramesFile(frames_path, 'a') as frames:
        frames._file['blocks/0000/energies'].resize(3, axis=0)
    with pytest.raises(DamagedFileError, match='different lengths'):
        FramesFile(frames_path)


def test_flipped_byte_in_the_data_is_noticed(tmp_path):
    path = write_frames(tmp_path / 'a.h5', [(make_block(n_frames=400), 'x')])
    with FramesFile(path) as frames:
        dataset = frames._file['blocks/0000/forces']
        offset = dataset.id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 200] ^= 0xFF
    path.write_bytes(data)
    with FramesFile(path) as frames, pytest.raises(DamagedFileError, match="'forces' of the file is damaged"):
        frames.content_hash()


def test_memory_is_bounded(tmp_path):
    """60 MB of frames are written, split, merged and hashed within a fraction of their size."""
    n_atoms, batch = 100, 1000
    numbers = np.full(n_atoms, 3)
    rng = np.random.default_rng(0)
    noise = np.round(rng.normal(size=(batch, n_atoms, 3)), 1)
    path = tmp_path / 'big.h5'
    tracemalloc.start()
    try:
        with FramesFile(path, 'w') as frames:
            for _ in range(25):
                cells = np.repeat(np.eye(3)[None] * 12, batch, axis=0)
                frames.append(FrameBlock(numbers, noise, cells, rng.normal(size=batch), noise), {'label': 'x'})
        split(path, tmp_path / 'a.h5', tmp_path / 'b.h5', 0.5, 1)
        assert merge_files([tmp_path / 'a.h5', tmp_path / 'b.h5'], tmp_path / 'c.h5') == 25 * batch
        with FramesFile(tmp_path / 'c.h5') as frames:
            frames.content_hash()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 35e6
