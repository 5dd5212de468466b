"""Potentials: what is accepted as a model, what is not, what the node knows."""

from __future__ import annotations

import io
import os
import zipfile

import pytest
from aiida.common.exceptions import ValidationError
from aiida.orm import QueryBuilder, load_node
from frame_samples import graph

from aiida_softclay.data.model_file import ModelFileError, inspect_model
from aiida_softclay.data.potential import PotentialData


def test_facts_are_read_from_the_graph(model_path, tmp_path):
    facts = inspect_model(model_path)
    assert (facts.backend, facts.type_map, facts.rcut, facts.compressed) == ('tensorflow', ('Li', 'Cl'), 6.0, False)
    (tmp_path / 'c.pb').write_bytes(graph('Li Ga F Cl', 9.0, compressed=True))
    facts = inspect_model(tmp_path / 'c.pb')
    assert (facts.type_map, facts.rcut, facts.compressed) == (('Li', 'Ga', 'F', 'Cl'), 9.0, True)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('model.pb', b'', 'is empty'),
        ('model.pb', b'# pair_style lj/cut 10\n' * 50, 'not a frozen DeePMD graph'),
        ('model.pb', bytes(range(256)) * 20, 'not a frozen DeePMD graph'),
        ('model.pb', graph()[:-40], 'not a frozen DeePMD graph: truncated'),
        ('model.pb', b'\x00' * 1000, 'not a frozen DeePMD graph'),
        ('model.pth', graph(), 'not a PyTorch model'),
        ('model.dp', b'hello', 'not an HDF5 file'),
        ('model.hlo', graph(), 'not an HDF5 file'),
        ('model.txt', graph(), 'no extension of a DeePMD model'),
        ('model', graph(), 'no extension of a DeePMD model'),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, name, content, message, aiida_profile):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        inspect_model(path)
    with pytest.raises(ValidationError, match=message):
        PotentialData(file=path, type_map=['Li', 'Cl'], rcut=6.0)


def test_every_truncation_and_random_bytes_are_refused(tmp_path):
    path = tmp_path / 'model.pb'
    data = graph()
    facts = inspect_model_of(path, data)
    for length in range(len(data)):
        try:
            found = inspect_model_of(path, data[:length])
        except ModelFileError:
            continue
        # A cut exactly between two nodes is a shorter graph; what is needed must still be there.
        assert (found.type_map, found.rcut) in ((facts.type_map, facts.rcut), (facts.type_map, None))
    for _ in range(200):
        with pytest.raises(ModelFileError):
            inspect_model_of(path, os.urandom(300))


def inspect_model_of(path, data):
    path.write_bytes(data)
    return inspect_model(path)


def test_other_containers(tmp_path, aiida_profile):
    with zipfile.ZipFile(tmp_path / 'model.pth', 'w') as archive:
        archive.writestr('model/data.pkl', b'x')
    node = PotentialData(file=tmp_path / 'model.pth', type_map=['Li'], rcut=5, backend='pytorch')
    assert (node.filename, node.model_backend, node.compressed) == ('model.pth', 'pytorch', False)
    with zipfile.ZipFile(tmp_path / 'docs.pth', 'w') as archive:
        archive.writestr('word/document.xml', b'x')
    with pytest.raises(ValidationError, match='not one that PyTorch wrote'):
        PotentialData(file=tmp_path / 'docs.pth', type_map=['Li'], rcut=5)
    with pytest.raises(ValidationError, match='give the type_map'):
        PotentialData(file=tmp_path / 'model.pth', rcut=5)
    with pytest.raises(ValidationError, match='give rcut'):
        PotentialData(file=tmp_path / 'model.pth', type_map=['Li'])


def test_node(model_path, aiida_profile):
    node = PotentialData(
        file=model_path, type_map=['Li', 'Cl'], rcut=6.0, backend='tensorflow', version='3.2.0', seed=7,
        test_rmse={'force_eV_A': 0.05},
    ).store()  # fmt: skip
    node = load_node(node.pk)
    assert (node.filename, node.type_map, node.rcut, node.version) == ('model.pb', ['Li', 'Cl'], 6.0, '3.2.0')
    assert (node.model_backend, node.seed, node.test_rmse) == ('tensorflow', 7, {'force_eV_A': 0.05})
    assert node.base.attributes.get('backend') == 'tensorflow'
    assert node.supports(['Cl', 'Li', 'Li'])
    assert not node.supports(['Li', 'Ga'])
    assert node.missing_elements(['Li', 'Ga', 'F']) == ['F', 'Ga']
    with node.open_model() as path:
        assert path.name == 'model.pb'
        assert path.read_bytes() == model_path.read_bytes()
    query = QueryBuilder().append(PotentialData, filters={'attributes.test_rmse.force_eV_A': {'<': 0.06}})
    assert node.pk in [found.pk for found in query.all(flat=True)]


def test_facts_of_the_model_are_the_default(model_path, aiida_profile):
    node = PotentialData(file=io.BytesIO(model_path.read_bytes()), filename='frozen.pb')
    assert (node.filename, node.type_map, node.rcut, node.compressed) == ('frozen.pb', ['Li', 'Cl'], 6.0, False)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'type_map': ['Cl', 'Li']}, 'the model itself says Li, Cl'),
        ({'type_map': ['Li', 'Li']}, 'names an element twice'),
        ({'type_map': ['Li', 'Xx']}, 'unknown elements: Xx'),
        ({'type_map': []}, 'must be a list'),
        ({'type_map': 'LiCl'}, 'must be a list'),
        ({'rcut': 0}, 'positive length'),
        ({'rcut': float('nan')}, 'positive length'),
        ({'rcut': 9.0}, 'the model itself says 6'),
        ({'backend': 'pytorch'}, 'is a tensorflow model'),
        ({'test_rmse': {'energy': float('nan')}}, 'no errors: energy'),
        ({'test_rmse': {'energy': -1.0}}, 'no errors: energy'),
        ({'file': '/nowhere/model.pb'}, 'there is no file'),
        ({'file': None}, 'needs its model file'),
    ],
)
def test_wrong_arguments(model_path, aiida_profile, change, message):
    with pytest.raises(ValidationError, match=message):
        PotentialData(**{'file': model_path, 'type_map': ['Li', 'Cl'], 'rcut': 6.0, **change})


def test_exchanged_file_is_not_stored(model_path, tmp_path, aiida_profile):
    node = PotentialData(file=model_path)
    other = tmp_path / 'other.pb'
    other.write_bytes(graph() + graph())
    node.base.repository.put_object_from_file(str(other), 'model.pb')
    with pytest.raises(ValidationError, match='md5'):
        node.store()


def test_hash_is_what_a_simulation_sees(model_path, tmp_path, aiida_profile):
    first = PotentialData(file=model_path).store()
    tested = PotentialData(file=model_path, filename='tested.pb', test_rmse={'energy': 1.0}, seed=3).store()
    assert first.base.caching.get_hash() == tested.base.caching.get_hash()
    (tmp_path / 'other.pb').write_bytes(graph(rcut=7.0))
    other = PotentialData(file=tmp_path / 'other.pb').store()
    assert other.base.caching.get_hash() != first.base.caching.get_hash()
