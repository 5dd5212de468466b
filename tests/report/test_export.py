"""A study taken away: what is in it, what is not, and that another profile gives the same numbers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import zipfile

import pytest
from aiida import orm
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory, WorkflowFactory
from aiida.storage.sqlite_temp import SqliteTempBackend
from aiida.tools.archive import import_archive
from export_samples import SECRET, sample_study

from aiida_softclay.data.left_out import ASKED, BULK, LEFT_OUT_EXTRA, LICENSED
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.report.export import DEFAULT_PARTS, PARTS, Options, dry_run, take_away
from aiida_softclay.report.export.archive import PotcarTextError
from aiida_softclay.report.export.potcar import holds_potcar
from aiida_softclay.report.provenance import trace
from aiida_softclay.report.queries import results_table

#: Larger than the small trajectory of the study and smaller than the big one, bytes.
BETWEEN = 300_000
#: Drawing a page takes longer than all the rest.
QUICK = tuple(part for part in DEFAULT_PARTS if part != 'report')


@pytest.fixture(scope='module')
def stored(aiida_profile, tmp_path_factory):
    """Return the uuid of a study in a profile that holds nothing else; nothing below changes it."""
    aiida_profile.reset_storage()
    folder = tmp_path_factory.mktemp('study')
    computer = orm.Computer('cluster', 'cluster.example.org', '', 'core.local', 'core.direct', str(folder)).store()
    return sample_study(folder, computer).uuid


@pytest.fixture
def study(stored):
    return orm.load_node(stored)


@pytest.fixture
def other_profile():
    """Return a context in which an empty profile in memory is loaded."""

    @contextlib.contextmanager
    def loaded():
        manager = get_manager()
        mine = manager.get_profile()
        manager.load_profile(SqliteTempBackend.create_profile('elsewhere'), allow_switch=True)
        try:
            yield
        finally:
            manager.load_profile(mine, allow_switch=True)

    return loaded


def files_of(archive):
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if not name.endswith('/'):
                yield name, opened.read(name)


def rows_of(study):
    numbers = results_table(process=study)
    numbers = numbers.drop(columns=['process_pk', 'results_pk']).to_dict('records')
    steps = [(step.kind, step.node.uuid, step.depth, step.description, step.engine) for step in trace(study)]
    return [{key: value for key, value in row.items() if value == value} for row in numbers], sorted(steps)


def test_another_profile_gives_the_same_numbers_and_ancestors(study, tmp_path, other_profile):
    made = take_away([study], tmp_path / 'out', Options(QUICK, bulk_above=BETWEEN))
    before, uuid = rows_of(study), study.uuid
    nodes = orm.QueryBuilder().append(orm.Data, filters={'attributes.filename': 'trajectory.h5'}).all(flat=True)
    big = max(nodes, key=lambda node: node.n_frames).uuid
    small = min(nodes, key=lambda node: node.n_frames).uuid
    with other_profile():
        import_archive(tmp_path / 'out' / 'archive.aiida')
        assert rows_of(orm.load_node(uuid)) == before
        lacking = orm.load_node(big)
        assert lacking.n_frames == 150
        assert lacking.base.repository.list_object_names() == []
        with (
            pytest.raises(
                FileNotFoundError,
                match=r'\(bulk trajectory\)\. It is in the .*, of jobs that ran in /scratch/jobs/lammps',
            ),
            lacking.open_trajectory(),
        ):
            pass
        (record,) = lacking.base.extras.get(LEFT_OUT_EXTRA)
        assert (record['path'], record['reason']) == ('trajectory.h5', BULK)
        # Nothing is cached from what lacks its file.
        assert lacking.base.caching.get_hash() is None
        whole = orm.load_node(small)
        assert LEFT_OUT_EXTRA not in whole.base.extras.all
        with whole.open_trajectory() as opened:
            assert opened.content_hash() == whole.content_hash
    assert [item.uuid for item in made.left_out if item.reason == BULK] == [big]
    assert LEFT_OUT_EXTRA not in orm.load_node(big).base.extras.all, 'a stored node was changed'
    assert orm.load_node(big).base.repository.list_object_names() == ['trajectory.h5']


def test_no_potcar_leaves_the_profile(study, tmp_path):
    made = take_away([study], tmp_path / 'out', Options(QUICK))
    where = {(item.node_type.split('.')[-2], item.path) for item in made.left_out if item.reason == LICENSED}
    assert where == {
        ('CalcJobNode', 'raw/POTCAR'), ('FolderData', 'concatenated.txt'), ('FolderData', 'saved.gz'),
        ('FolderData', 'job.tar.xz'),
    }  # fmt: skip
    import gzip
    import io
    import lzma

    for name, content in files_of(tmp_path / 'out' / 'archive.aiida'):
        for text in (content, *(opener(content) for magic, opener in (
            (b'\x1f\x8b', gzip.decompress), (b'\xfd7zXZ\x00', lzma.decompress)) if content.startswith(magic)
        )):  # fmt: skip
            assert SECRET.encode() not in text, name
        assert name.endswith('.sqlite3') or not holds_potcar(io.BytesIO(content)), name
    for path in (tmp_path / 'out').rglob('*'):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    # What VASP itself repeats of a POTCAR stays, and so does the node that says which POTCAR it was.
    names = {hashlib.sha256(content).hexdigest() for _, content in files_of(tmp_path / 'out' / 'archive.aiida')}
    retrieved = orm.QueryBuilder().append(orm.FolderData).all(flat=True)[0]
    assert hashlib.sha256(retrieved.base.repository.get_object_content('OUTCAR', mode='rb')).hexdigest() in names


def test_the_node_of_a_potcar_itself_comes_without_its_file(study, tmp_path, other_profile):
    from aiida_vasp.data.potcar import PotcarFileData

    node = orm.QueryBuilder().append(PotcarFileData).first(flat=True)
    made = take_away([node], tmp_path / 'out', Options(('archive',)))
    assert [(item.uuid, item.reason) for item in made.left_out] == [(node.uuid, LICENSED)]
    uuid, sha512 = node.uuid, node.sha512
    with other_profile():
        import_archive(tmp_path / 'out' / 'archive.aiida')
        assert orm.load_node(uuid).sha512 == sha512
        assert orm.load_node(uuid).base.repository.list_object_names() == []


def test_a_potcar_in_attributes_is_refused(study, tmp_path):
    from export_samples import potcar_text

    note = orm.Dict({'input': potcar_text('Li')}).store()
    with pytest.raises(PotcarTextError, match=rf'node {note.pk} .* leave out the part `archive`'):
        take_away([note], tmp_path / 'out')
    assert list(tmp_path.glob('*out*')) == []


def test_messages_with_a_potcar_stay_behind(study, tmp_path, other_profile):
    from export_samples import potcar_text

    study.base.comments.add(potcar_text('Li'))
    study.base.comments.add('a good run')
    take_away([study], tmp_path / 'out', Options(('archive',)))
    assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['left_out_messages'] == 1
    uuid = study.uuid
    with other_profile():
        import_archive(tmp_path / 'out' / 'archive.aiida')
        assert [comment.content for comment in orm.load_node(uuid).base.comments.all()] == ['a good run']


def test_what_other_programs_read(study, tmp_path):
    import numpy as np
    import pandas as pd
    from ase.io import read

    out = tmp_path / 'out'
    take_away([study], out, Options((*QUICK, 'trajectories'), stride=3))
    (system,) = (out / 'frames' / 'frames.melt_1' / 'deepmd').iterdir()
    images = read(out / 'frames' / 'frames.melt_1' / 'frames.extxyz', ':')
    np.testing.assert_allclose(np.load(system / 'set.000' / 'energy.npy'), [a.get_potential_energy() for a in images])
    model = out / 'potentials' / 'potential.pb'
    assert subprocess.run(['md5sum', '-c', 'MD5SUMS'], cwd=out / 'potentials', check=True, capture_output=True)
    assert hashlib.md5(model.read_bytes(), usedforsecurity=False).hexdigest() == study.outputs.potential.md5
    crystal = read(out / 'structures' / 'structure.cif')
    assert crystal.get_chemical_formula() == 'Cl2Li2'
    np.testing.assert_allclose(crystal.get_all_distances(mic=True)[0, 1], 1.1, atol=1e-6)
    assert (out / 'densities' / 'diffusion.cube_Li.cube').read_text() == 'density\nof Li\n'
    table = pd.read_csv(out / 'tables' / 'results.csv')
    assert list(table['name']) == ['diffusivity.Li', 'density']
    assert table['value'].iloc[0] == pytest.approx(2.1e-6, rel=1e-12)
    assert set(table['process_uuid']) == {study.uuid}
    assert set(pd.read_csv(out / 'tables' / 'trace.csv')['uuid']) == {step.node.uuid for step in trace(study)}
    curve = pd.read_csv(out / 'tables' / 'curves' / 'thermo.run.csv')
    assert list(curve.columns) == ['time (ps)', *(f'stress_{index} (GPa)' for index in range(6))]
    assert curve['stress_5 (GPa)'].iloc[4] == 29.0
    assert list(pd.read_csv(out / 'tables' / 'curves' / 'thermo.run_2.csv')['masses']) == [1.0, 1.0]

    pytest.importorskip('MDAnalysis')
    import MDAnalysis

    universe = MDAnalysis.Universe(str(out / 'trajectories' / 'md.big.pdb'), str(out / 'trajectories' / 'md.big.xtc'))
    assert (len(universe.trajectory), len(universe.atoms)) == (50, 200)
    node = next(
        node for node in orm.QueryBuilder().append(orm.Data).all(flat=True) if getattr(node, 'stage', '') == 'run'
    )
    with node.open_trajectory() as opened:
        universe.trajectory[7]
        np.testing.assert_allclose(universe.atoms.positions, opened.positions[21], atol=1e-3)


def test_manifest_and_sums_are_of_every_file(study, tmp_path):
    take_away([study], tmp_path / 'out')
    out = tmp_path / 'out'
    manifest = json.loads((out / 'manifest.json').read_text())
    present = {path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file()}
    assert {item['path'] for item in manifest['files']} == present - {'manifest.json', 'SHA256SUMS'}
    subprocess.run(['sha256sum', '--strict', '-c', 'SHA256SUMS'], cwd=out, check=True, capture_output=True)
    assert len((out / 'SHA256SUMS').read_text().splitlines()) == len(present) - 1
    assert manifest['asked_for'][0]['uuid'] == study.uuid
    frames = next(item for item in manifest['files'] if item['path'].endswith('frames.extxyz'))
    assert frames['nodes'] == [study.outputs.frames.melt_1.uuid]
    assert {item['part'] for item in manifest['files']} - {''} == set(DEFAULT_PARTS)
    assert '<h1' in (out / 'report' / 'study.html').read_text()
    text = (out / 'README.md').read_text()
    assert 'CHGNet 0.3.0' in text
    assert 'scale demo' in text
    assert 'DFT' not in text


def test_where_bulk_lies_is_said(study, tmp_path):
    take_away([study], tmp_path / 'out', Options(('archive',), bulk_above=0))
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    found = [item for item in manifest['left_out'] if item['reason'] == BULK]
    assert len(found) == 2
    for item in found:
        assert item['location']['profile_uuid'] == get_manager().get_profile().uuid
        (remote,) = item['location']['remote']
        assert (remote['computer'], remote['path']) == ('cluster', '/scratch/jobs/lammps')
        content = orm.load_node(item['uuid']).base.repository.get_object_content('trajectory.h5', mode='rb')
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (item['sha256'], item['bytes'])


def test_files_left_out_as_asked(study, tmp_path):
    made = take_away([study], tmp_path / 'out', Options(('archive',), leave_out=('*.pb', 'INCA?')))
    asked = {item.path for item in made.left_out if item.reason == ASKED}
    assert asked == {'model.pb', 'INCAR'}


def test_a_model_that_was_left_out_says_where_it_is(study, tmp_path, other_profile):
    node, profile = study.outputs.potential, get_manager().get_profile()
    uuid, md5, content = node.uuid, node.md5, node.get_content(mode='rb')
    take_away([node], tmp_path / 'without', Options(('archive',), leave_out=('*.pb',)))
    take_away([node], tmp_path / 'with', Options(('archive', 'potentials')))
    with other_profile():
        import_archive(tmp_path / 'without' / 'archive.aiida')
        lacking = orm.load_node(uuid)
        said = []
        for read in (lambda: lacking.open(mode='rb'), lacking.as_path, lacking.open_model):
            with pytest.raises(FileNotFoundError) as caught, read():
                pass
            said.append(str(caught.value))
        with pytest.raises(FileNotFoundError, match='is not here'):
            _ = lacking.content
        assert len(set(said)) == 1
        for part in (
            f'model.pb of PotentialData <{lacking.pk}> ({len(content):,} bytes, sha256 '
            f'{hashlib.sha256(content).hexdigest()}) is not here',
            f'({ASKED}). It is in the profile {profile.name} ({profile.uuid})',
            'without `--leave-out`', f'softclay export {uuid} DIR --parts archive', f'if its md5 is {md5}',
        ):  # fmt: skip
            assert part in said[0]
        # Every process that would compute with it refuses it where it is submitted.
        for entry_point in ('softclay.study', 'softclay.paper', 'softclay.validate_potential', 'softclay.amorphous',
                            'softclay.md', 'softclay.conductivity', 'softclay.stress_pulse_series'):  # fmt: skip
            builder = WorkflowFactory(entry_point).get_builder()
            with pytest.raises(ValueError, match=r'model\.pb of PotentialData .* is not here'):
                builder.potential = lacking
        for name in ('softclay.lammps', 'softclay.dp.test', 'softclay.dp.compress'):
            problem = CalculationFactory(name).spec().inputs['potential'].validate(lacking)
            assert 'is not here' in str(problem)
        # What the sentence says: AiiDA adds no file to the node, and the model is a node of the same md5.
        import_archive(tmp_path / 'with' / 'archive.aiida')
        assert orm.load_node(uuid).base.repository.list_object_names() == []
        (model,) = (tmp_path / 'with' / 'potentials').glob('*.pb')
        assert PotentialData(model).md5 == md5
        # Exported again, the archive still tells, and nothing else of it is attempted.
        again = take_away([lacking], tmp_path / 'again', Options(('archive', 'potentials')))
        assert any('1 potentials have no file' in warning for warning in again.warnings)
        assert dry_run([lacking], Options(('potentials',)))[0][0].items == 0
        lacking.base.extras.delete(LEFT_OUT_EXTRA)
        with pytest.raises(FileNotFoundError, match=r'is not here: its node came without the file\. Find an archive'):
            lacking.get_content(mode='rb')
    assert not (tmp_path / 'again' / 'potentials').exists()


def test_frames_that_were_left_out_are_refused_before_a_fit(study, tmp_path, other_profile):
    uuid = study.outputs.frames.melt_1.uuid
    take_away([study], tmp_path / 'without', Options(('archive',), leave_out=('frames.h5',)))
    with other_profile():
        import_archive(tmp_path / 'without' / 'archive.aiida')
        lacking = orm.load_node(uuid)
        structure = orm.StructureData(cell=[[5, 0, 0], [0, 5, 0], [0, 0, 5]])
        structure.append_atom(position=(0, 0, 0), symbols=lacking.elements[0])
        for name, more in (
            ('softclay.fit_potential', {}),
            ('softclay.fit_committee', {}),
            ('softclay.concurrent_learning', {'structures': {'a': structure}}),
        ):
            process = WorkflowFactory(name)
            values = process.get_protocol_inputs('demo')
            problem = process.spec().inputs.validator(
                {'frames': {'old': lacking}, 'parameters': orm.Dict(values), **more}, None
            )
            assert 'old: frames.h5 of FramesData' in problem, name
            assert 'is not here' in problem, name


def test_bulk_comes_along_when_asked_for(study, tmp_path):
    made = take_away([study], tmp_path / 'out', Options(('archive',), with_trajectories=True, bulk_above=0))
    assert not [item for item in made.left_out if item.reason == BULK]


def test_exported_again_from_the_other_profile(study, tmp_path, other_profile):
    take_away([study], tmp_path / 'out', Options(QUICK, bulk_above=BETWEEN))
    uuid = study.uuid
    with other_profile():
        import_archive(tmp_path / 'out' / 'archive.aiida')
        again = take_away([orm.load_node(uuid)], tmp_path / 'again', Options((*QUICK, 'trajectories')))
        assert any('1 trajectories have no file' in warning for warning in again.warnings)
    manifest = json.loads((tmp_path / 'again' / 'manifest.json').read_text())
    first = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert {item['sha256'] for item in manifest['left_out']} == {item['sha256'] for item in first['left_out']}
    with other_profile():
        import_archive(tmp_path / 'again' / 'archive.aiida')
        assert len(results_table(process=orm.load_node(uuid))) == 2


def test_a_running_study_gives_what_has_ended(study, tmp_path, other_profile):
    study = sample_study(tmp_path / 'sources', orm.load_computer('cluster'), finished=False)
    made = take_away([study], tmp_path / 'out', Options(QUICK))
    assert any('had not ended' in warning for warning in made.warnings)
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert manifest['unfinished'] == [{'uuid': study.uuid, 'process': 'StudyWorkChain'}]
    # By the stage of the study that is open, although the study itself is not there.
    assert (tmp_path / 'out' / 'frames' / 'sampling.frames').is_dir()
    uuid = study.uuid
    (results,) = [node.outputs.results for node in study.called if node.process_label == 'diffusion']
    ancestors = {step.node.uuid for step in trace(results)}
    with other_profile():
        import_archive(tmp_path / 'out' / 'archive.aiida')
        assert orm.QueryBuilder().append(orm.Node, filters={'uuid': uuid}).count() == 0
        found = orm.QueryBuilder().append(orm.Dict, filters={'attributes': {'has_key': 'numbers'}}).one()[0]
        assert {step.node.uuid for step in trace(found)} == ancestors


def test_nothing_has_ended_yet(study, tmp_path):
    from export_samples import process

    node = process(orm.WorkChainNode, 'StudyWorkChain', finished=False)
    with pytest.raises(ValueError, match='nothing to take away yet'):
        take_away([node], tmp_path / 'out')


def test_a_potential_alone(study, tmp_path, other_profile):
    potential, study_uuid = study.outputs.potential, study.uuid
    expected = {step.node.uuid for step in trace(potential)}
    take_away([potential], tmp_path / 'whole', Options(('archive',)))
    take_away([potential], tmp_path / 'alone', Options(('archive', 'trajectories', 'frames'), callers=False))
    assert not (tmp_path / 'alone' / 'trajectories').exists()
    assert (tmp_path / 'alone' / 'frames').is_dir()
    uuid = potential.uuid
    for name, with_study in (('alone', False), ('whole', True)):
        with other_profile():
            import_archive(tmp_path / name / 'archive.aiida')
            assert {step.node.uuid for step in trace(orm.load_node(uuid))} == expected
            assert bool(orm.QueryBuilder().append(orm.Node, filters={'uuid': study_uuid}).count()) == with_study


def test_committees_come_along(study, tmp_path, other_profile):
    from aiida_softclay.data.committee import Committee

    group = orm.Group(label='a list of mine').store()
    group.add_nodes([study])
    committee = Committee(label='both').store()
    orm.Group.add_nodes(committee, [study.outputs.potential])
    take_away([study], tmp_path / 'out', Options(('archive',)))
    with other_profile():
        import_archive(tmp_path / 'out' / 'archive.aiida')
        labels = orm.QueryBuilder().append(orm.Group, project='label').all(flat=True)
        assert 'both' in labels
        assert 'a list of mine' not in labels


def test_sizes_before_anything_is_written(study, tmp_path):
    sizes, warnings = dry_run([study], Options(PARTS, bulk_above=BETWEEN))
    assert warnings == []
    assert list(tmp_path.iterdir()) == []
    items = {row.part: row.items for row in sizes}
    assert items['frames'] == items['potentials'] == items['structures'] == items['densities'] == 1
    assert items['trajectories'] == 2
    assert {row.part: row.bytes for row in sizes}[
        'potentials'
    ] == study.outputs.potential.base.repository.get_object_size('model.pb')
    curves = {row.part: (row.items, row.bytes) for row in sizes}['tables']
    take_away([study], tmp_path / 'out', Options(('tables',)))
    written = sum(path.stat().st_size for path in (tmp_path / 'out' / 'tables').rglob('*.csv'))
    assert curves[0] == 1
    assert written / 3 < curves[1] < 3 * written
    note = next(row.note for row in sizes if row.part == 'archive')
    assert '5 files' in note
