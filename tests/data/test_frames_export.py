"""Exports, read back by dpdata, DeePMD-kit and ASE."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from frame_samples import make_block, write_frames

from aiida_softclay.data.frames_file import FramesFile, export_deepmd_npy, export_extxyz
from aiida_softclay.data.model_file import inspect_model


def test_dpdata_reads_the_systems(frames_path, tmp_path):
    """Each block is a system of its own, also the two atom orders of one formula, over several sets."""
    import dpdata

    type_map = ['Ga', 'Li', 'F', 'Cl', 'Mg']
    systems = export_deepmd_npy(frames_path, tmp_path / 'deepmd', type_map, set_size=6)
    assert systems == ['0000_GaLiClF', '0001_GaLiClF', '0002_LiCl']
    assert len(list((tmp_path / 'deepmd' / systems[0]).glob('set.*'))) == 3
    with FramesFile(frames_path) as frames:
        for name, view in zip(systems, frames.blocks(), strict=True):
            folder = tmp_path / 'deepmd' / name
            assert (folder / 'type_map.raw').read_text().split() == type_map
            back = dpdata.LabeledSystem(str(folder), fmt='deepmd/npy')
            assert [back['atom_names'][kind] for kind in back['atom_types']] == view.symbols
            np.testing.assert_array_equal(back['energies'], view.energies[:])
            np.testing.assert_allclose(back['cells'], view.cells[:], atol=1e-12)
            np.testing.assert_allclose(back['coords'], view.positions[:], atol=1e-6)
            np.testing.assert_allclose(back['forces'], view.forces[:], atol=1e-6)
            np.testing.assert_allclose(back['virials'], view.virials[:], atol=1e-6)


def test_virial_sign_is_that_of_dpdata(vasprun, tmp_path):
    """vasprun.xml → our frames → npy equals vasprun.xml → dpdata → npy, sign included."""
    import dpdata

    from aiida_softclay.data.frames_file import frames_from_vasprun

    path = write_frames(tmp_path / 'frames.h5', [(frames_from_vasprun(vasprun), 'x')])
    (name,) = export_deepmd_npy(path, tmp_path / 'ours', ['Cu', 'Al'])
    dpdata.LabeledSystem(str(vasprun), fmt='vasp/xml').to('deepmd/npy', str(tmp_path / 'theirs'))
    ours, theirs = (
        np.load(folder / 'set.000' / 'virial.npy').reshape(-1, 3, 3)
        for folder in (tmp_path / 'ours' / name, tmp_path / 'theirs')
    )
    np.testing.assert_allclose(np.linalg.eigvalsh(ours), np.linalg.eigvalsh(theirs), atol=1e-5)
    assert (np.trace(ours, axis1=1, axis2=2) > 0).all()


def test_frames_without_virial_are_a_system_without_virial(tmp_path):
    parts = [(make_block(n_frames=3), 'x'), (make_block(n_frames=2, virials=False), 'x')]
    path = write_frames(tmp_path / 'frames.h5', parts)
    names = export_deepmd_npy(path, tmp_path / 'deepmd', ['Li', 'Cl', 'Ga', 'F'])
    has = [(tmp_path / 'deepmd' / name / 'set.000' / 'virial.npy').is_file() for name in names]
    assert has == [True, False]


def test_refusals(frames_path, tmp_path):
    with pytest.raises(ValueError, match='lacks F, Ga'):
        export_deepmd_npy(frames_path, tmp_path / 'a', ['Li', 'Cl'])
    with pytest.raises(ValueError, match='twice'):
        export_deepmd_npy(frames_path, tmp_path / 'a', ['Li', 'Cl', 'Ga', 'F', 'Li'])
    with pytest.raises(ValueError, match='no frames'):
        export_deepmd_npy(write_frames(tmp_path / 'e.h5', []), tmp_path / 'a', ['Li'])
    export_deepmd_npy(frames_path, tmp_path / 'a', ['Li', 'Cl', 'Ga', 'F'])
    with pytest.raises(ValueError, match='systems already'):
        export_deepmd_npy(frames_path, tmp_path / 'a', ['Li', 'Cl', 'Ga', 'F'])


def test_ase_reads_extended_xyz(frames_path, tmp_path):
    from ase.io import read

    assert export_extxyz(frames_path, tmp_path / 'frames.xyz') == 25
    images = read(tmp_path / 'frames.xyz', ':')
    index = 0
    with FramesFile(frames_path) as frames:
        for view in frames.blocks():
            for row in range(view.n_frames):
                atoms = images[index]
                index += 1
                assert atoms.get_chemical_symbols() == view.symbols
                assert atoms.get_potential_energy() == pytest.approx(view.energies[row], abs=1e-6)
                np.testing.assert_allclose(atoms.positions, view.positions[row], atol=1e-6)
                np.testing.assert_allclose(atoms.get_forces(), view.forces[row], atol=1e-6)
                virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
                # ASE keeps the six components of a symmetric tensor.
                symmetric = (view.virials[row] + view.virials[row].T) / 2
                np.testing.assert_allclose(virial, symmetric, atol=1e-5)
                assert atoms.info['source'] == frames.sources[view.source_index[row]]['label']
                assert atoms.info['energy_kind'] == 'e_fr_energy'
                assert atoms.info['temperature_K'] == pytest.approx(view.temperature[row], rel=1e-5)


@pytest.mark.engine
def test_deepmd_trains_on_the_export(frames_path, tmp_path, dp_program):
    """``dp`` accepts every exported system, and the model it freezes is recognised with its type map and cutoff."""
    type_map = ['Li', 'Cl', 'Ga', 'F']
    systems = export_deepmd_npy(frames_path, tmp_path / 'deepmd', type_map, set_size=6)
    descriptor = {'type': 'se_e2_a', 'rcut': 3.0, 'rcut_smth': 1.0, 'sel': [30] * 4, 'neuron': [2], 'axis_neuron': 1}
    settings = {
        'model': {'type_map': type_map, 'descriptor': descriptor, 'fitting_net': {'neuron': [2]}},
        'learning_rate': {'type': 'exp', 'start_lr': 1e-3, 'stop_lr': 1e-5, 'decay_steps': 10},
        'loss': {'type': 'ener', 'start_pref_v': 0.1, 'limit_pref_v': 1},
        'training': {
            'training_data': {'systems': [f'deepmd/{name}' for name in systems], 'batch_size': 1},
            'numb_steps': 2, 'disp_freq': 1, 'save_freq': 2, 'seed': 1,
        },
    }  # fmt: skip
    (tmp_path / 'input.json').write_text(json.dumps(settings))
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'TF_ENABLE_ONEDNN_OPTS': '0'}
    for arguments in (['train', 'input.json'], ['freeze', '-o', 'model.pb']):
        done = subprocess.run(
            [dp_program, '--tf', *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    facts = inspect_model(Path(tmp_path / 'model.pb'))
    assert facts.type_map == tuple(type_map)
    assert facts.rcut == pytest.approx(3.0)
    assert facts.compressed is False
