"""The frames node: attributes, hashes, tampering, reading from a packed repository."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest
from aiida.common.exceptions import ValidationError
from aiida.manage import get_manager
from aiida.orm import QueryBuilder, load_node
from frame_samples import ENGINE, make_block, write_frames

from aiida_softclay.data.frames import FramesData


def test_attributes_and_query(frames_path, aiida_profile):
    node = FramesData.from_file(frames_path).store()
    node = load_node(node.pk)
    assert node.filename == 'frames.h5'
    assert (node.n_frames, node.formulas, node.elements) == (25, ['GaLiClF', 'LiCl'], ['Li', 'F', 'Cl', 'Ga'])
    assert node.temperature_range == (300.0, 900.0)
    assert (node.energy_kind, node.engine) == ('e_fr_energy', ENGINE)
    assert 'no kinetic part' in node.virial_convention
    assert node.base.attributes.get('frames_per_formula') == {'GaLiClF': 22, 'LiCl': 3}
    assert node.base.attributes.get('source_labels') == ['melt', 'quench']
    filters = {'attributes.engine.program': 'vasp', 'attributes.formulas': {'contains': ['LiCl']}}
    found = QueryBuilder().append(FramesData, filters=filters).all(flat=True)
    assert node.pk in [other.pk for other in found]
    assert '25 frames of GaLiClF, LiCl' in repr(node)


def test_made_from_any_kind_of_file(frames_path, aiida_profile, monkeypatch):
    monkeypatch.chdir(frames_path.parent)
    hashes = {
        FramesData.from_file(file).content_hash
        for file in (frames_path, 'frames.h5', io.BytesIO(frames_path.read_bytes()))
    }
    assert len(hashes) == 1


def test_another_layout_of_the_same_content_is_the_same_node(frames_path, tmp_path, aiida_profile):
    """The hash for caching sees content: recompressing the file changes its bytes but not the hash."""
    other = tmp_path / 'other.h5'
    with h5py.File(frames_path) as old, h5py.File(other, 'w') as new:
        new.attrs.update(dict(old.attrs))
        for name, item in old['blocks'].items():
            group = new.create_group(f'blocks/{name}')
            for key, data in item.items():
                group.create_dataset(key, data=data[:])
        new['sources'] = old['sources'][:]
    assert other.read_bytes() != frames_path.read_bytes()
    first, second = (FramesData.from_file(path).store() for path in (frames_path, other))
    assert first.content_hash == second.content_hash
    assert first.base.caching.get_hash() == second.base.caching.get_hash()
    changed = write_frames(tmp_path / 'changed.h5', [(make_block(seed=99), 'melt')])
    third = FramesData.from_file(changed).store()
    assert third.base.caching.get_hash() != first.base.caching.get_hash()


@pytest.mark.parametrize(
    ('key', 'value'), [('n_frames', 26), ('content_hash', '0' * 64), ('engine', {'program': 'other'})]
)
def test_changed_attributes_are_not_stored(frames_path, aiida_profile, key, value):
    node = FramesData.from_file(frames_path)
    node.base.attributes.set(key, value)
    with pytest.raises(ValidationError, match=f"attribute '{key}' does not describe the file"):
        node.store()


def test_a_copy_from_the_cache_is_stored(tmp_path, aiida_profile):
    """The database keeps 14 digits of a float, single precision gives more: the copy still describes its file."""
    block = make_block(n_frames=2)
    block.temperature = np.array([1 / 3, 696.92], dtype=np.float32)
    node = load_node(FramesData.from_file(write_frames(tmp_path / 'frames.h5', [(block, 'melt')])).store().pk)
    copy = node.clone().store()
    assert copy.uuid != node.uuid
    assert copy.temperature_range == node.temperature_range == pytest.approx((1 / 3, 696.92))
    assert copy.base.caching.get_hash() == node.base.caching.get_hash()


def test_exchanged_file_is_not_stored(frames_path, tmp_path, aiida_profile):
    node = FramesData.from_file(frames_path)
    other = write_frames(tmp_path / 'other.h5', [(make_block(seed=5), 'x')])
    node.base.repository.put_object_from_file(str(other), 'frames.h5')
    with pytest.raises(ValidationError, match='does not describe the file'):
        node.store()


def test_refusals(tmp_path, aiida_profile):
    (tmp_path / 'text.h5').write_text('hello')
    with pytest.raises(ValidationError, match=r'frames\.h5 cannot be used: .*not a readable HDF5'):
        FramesData.from_file(tmp_path / 'text.h5')
    with pytest.raises(ValidationError, match='holds no frame'):
        FramesData.from_file(write_frames(tmp_path / 'empty.h5', []))
    with pytest.raises(ValidationError, match='there is no file'):
        FramesData.from_file(tmp_path / 'missing.h5')


def test_reading_from_a_packed_repository(tmp_path, aiida_profile):
    """After `verdi storage maintain` the object is part of a pack; reading it must still work."""
    block = make_block(n_frames=50, seed=77)
    node = FramesData.from_file(write_frames(tmp_path / 'a.h5', [(block, 'x')])).store()
    storage = get_manager().get_profile_storage()
    for compress in (False, True):
        storage.get_repository().maintain(live=True, compress=compress)
        with load_node(node.pk).open_frames() as frames:
            np.testing.assert_array_equal(next(iter(frames.blocks())).energies[:], block.energies)
