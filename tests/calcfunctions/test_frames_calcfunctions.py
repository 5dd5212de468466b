"""The calcfunctions of labelled frames: what they return, what links they leave, how they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from aiida.common.exceptions import InputValidationError
from aiida.orm import Dict, Float, FolderData, Int

from aiida_softclay.calcfunctions.frames import (
    build_dataset,
    frames_from_vasp_folder,
    merge_frames,
    select_frames,
    split_frames,
)
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile


@pytest.fixture
def make_frames(tmp_path, aiida_profile):
    """Return a factory of stored frames of LiCl with energies that are unique to the seed."""

    def make(n_frames=10, seed=0, label='a', **options):
        rng = np.random.default_rng(seed)
        block = FrameBlock.from_symbols(
            ['Li', 'Cl'],
            positions=rng.random((n_frames, 2, 3)),
            cells=np.repeat(np.eye(3)[None] * 5, n_frames, axis=0),
            energies=rng.random(n_frames),
            forces=rng.random((n_frames, 2, 3)),
        )
        path = tmp_path / f'{label}{seed}.h5'
        with FramesFile(path, 'w', energy_kind='e_fr_energy', **options) as frames:
            frames.append(block, {'label': label})
        return FramesData.from_file(path).store()

    return make


def energies(node):
    with node.open_frames() as frames:
        return sorted(value for view in frames.blocks() for value in view.energies[:].tolist())


def test_split_and_merge_again(make_frames):
    frames = make_frames()
    parts = split_frames(frames, Float(0.8), Int(3))
    assert (parts['training'].n_frames, parts['validation'].n_frames) == (8, 2)
    merged = merge_frames(**parts)
    assert energies(merged) == energies(frames)
    links = {link.link_label for link in merged.creator.base.links.get_incoming()}
    assert links == {'training', 'validation'}
    again = split_frames(frames, Float(0.8), Int(3))
    assert again['training'].base.caching.get_hash() == parts['training'].base.caching.get_hash()


def test_select(make_frames):
    frames = make_frames()
    chosen = select_frames(frames, Int(4), Int(1))
    assert chosen.n_frames == 4
    assert set(energies(chosen)) < set(energies(frames))
    with pytest.raises(InputValidationError, match='cannot select 11 frames'):
        select_frames(frames, Int(11), Int(1))


def test_build_dataset(make_frames):
    """Two inputs, one of them given twice: the copies are counted out; names and order of the inputs are nothing."""
    first, second = make_frames(seed=1), make_frames(seed=2, label='b')
    parameters = Dict({'n_frames': 10, 'training_fraction': 0.8, 'seed': 3})
    made = build_dataset(parameters, run_000=first, run_001=second, run_002=first)
    counts = made['report'].get_dict()['counts']
    assert (counts['given'], counts['duplicates'], counts['usable']) == (30, 10, 20)
    assert (made['training'].n_frames, made['validation'].n_frames) == (8, 2)
    assert made['validation'].base.attributes.get('source_labels') == ['a', 'b']
    links = {link.link_label for link in made['report'].creator.base.links.get_incoming()}
    assert links == {'parameters', 'run_000', 'run_001', 'run_002'}
    again = build_dataset(parameters, z=first, a=second)
    assert again['training'].content_hash == made['training'].content_hash


def test_refusals(make_frames):
    with pytest.raises(InputValidationError, match='there are no frames'):
        build_dataset(Dict({}))
    with pytest.raises(InputValidationError, match='training_fraction is 1'):
        build_dataset(Dict({'training_fraction': 1}), a=make_frames())
    with pytest.raises(InputValidationError, match='training fraction'):
        split_frames(make_frames(), Float(1.0), Int(3))
    first = make_frames(seed=1, engine={'program': 'a'})
    second = make_frames(seed=2, engine={'program': 'b'})
    with pytest.raises(InputValidationError, match='different engines'):
        merge_frames(first=first, second=second)


VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling><generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2 </i></generator>
<parameters><i type="int" name="NELM">60</i><i type="int" name="IBRION">-1</i><i name="GGA">PE</i></parameters>
<atominfo><array name="atoms"><set><rc><c>Li</c><c>1</c></rc><rc><c>Cl</c><c>2</c></rc></set></array></atominfo>
<calculation><structure><crystal><varray name="basis"><v>5 0 0</v><v>0 5 0</v><v>0 0 5</v></varray></crystal>
<varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.5</v></varray></structure>
<varray name="forces"><v>0.1 0 0</v><v>-0.1 0 0</v></varray>
<varray name="stress"><v>16.02176634 0 0</v><v>0 0 0</v><v>0 0 0</v></varray>
<energy><i name="e_fr_energy">-7.25</i></energy></calculation>
"""


def test_frames_from_a_folder(tmp_path, aiida_profile):
    """One complete step of a file that is cut after it: 16.02 kB in 125 Å³ are 1.25 eV."""
    (tmp_path / 'vasprun.xml').write_text(VASPRUN + '<calculation><structure>')
    folder = FolderData(tree=str(tmp_path)).store()
    node = frames_from_vasp_folder(folder, Dict({'label': 'LiCl static'}))
    assert (node.n_frames, node.formulas, node.temperature_range) == (1, ['LiCl'], (0.0, 0.0))
    assert node.engine == {'program': 'vasp', 'version': '6.4.2', 'functional': 'PE'}
    assert 'the file is cut' in node.description
    with node.open_frames() as frames:
        (view,) = frames.blocks()
        assert view.energies[0] == -7.25
        assert view.virials[0, 0, 0] == pytest.approx(1.25)
        np.testing.assert_allclose(view.positions[0], [[0, 0, 0], [2.5, 2.5, 2.5]])
        assert frames.sources == [{'label': 'LiCl static', 'stage': ''}]


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'strid': 2}, 'unknown parameters strid'),
        ({'filename': 'other.xml'}, r'no file other\.xml'),
        ({'energy_kind': 'energy'}, 'unknown energy kind'),
        ({'start': 5}, 'no usable|none of the 1'),
    ],
)
def test_folder_refusals(tmp_path, aiida_profile, parameters, message):
    (tmp_path / 'vasprun.xml').write_text(VASPRUN + '</modeling>')
    folder = FolderData(tree=str(tmp_path)).store()
    with pytest.raises(InputValidationError, match=message):
        frames_from_vasp_folder(folder, Dict(parameters))
