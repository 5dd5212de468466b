"""The check of the codes, against programs that are what they claim and programs that are not."""

import pytest
from aiida.orm import InstalledCode

from aiida_softclay.setup.engines import check_codes, engine_of

LAMMPS = 'echo "LAMMPS (1 Jan 2020)"; echo "{styles}"'
VASP_END = 'echo "  General timing and accounting informations for this job:" >> OUTCAR'
VASP_ENERGY = 'echo "  free  energy   TOTEN  =       -9.500000 eV" > OUTCAR'


@pytest.fixture
def fake(localhost, tmp_path):
    """Return a function that makes a code of a shell script."""

    def make(plugin, text):
        path = tmp_path / f'program-{abs(hash((plugin, text)))}'
        path.write_text(f'#!/bin/bash\n{text}\n')
        path.chmod(0o755)
        return InstalledCode(
            label=path.name, computer=localhost, filepath_executable=str(path), default_calc_job_plugin=plugin
        ).store()

    return make


@pytest.mark.parametrize(
    ('plugin', 'text', 'sentence'),
    [
        ('softclay.lammps', LAMMPS.format(styles='lj/cut eam'), 'does not know pair_style deepmd'),
        ('softclay.lammps', 'echo hello', 'is not LAMMPS: hello'),
        ('softclay.lammps', 'echo "libmpi.so: cannot open" >&2; exit 127', 'libmpi.so: cannot open'),
        ('softclay.dp.train', 'echo "no module named deepmd" >&2; exit 1', 'no module named deepmd'),
        ('softclay.dp.train', 'echo fine', 'is not DeePMD-kit'),
        ('softclay.vasp_md', 'echo "licence expired" >&2', 'does not complete a static step: licence expired'),
        ('softclay.vasp_md', VASP_END, 'ends without an energy'),
    ],
)
def test_what_is_wrong_is_said(fake, placeholder_family, plugin, text, sentence):
    """A program that is not what it claims is found out, and its own last words are passed on."""
    (result,) = check_codes([fake(plugin, text)], placeholder_family)
    assert not result.ok
    assert sentence in result.message
    assert result.remedy


def test_what_is_right_passes(fake, placeholder_family):
    """Three programs that answer as they should, checked at once and reported in order."""
    codes = [
        fake('softclay.vasp_md', f'{VASP_ENERGY}\n{VASP_END}'),
        fake('softclay.lammps', LAMMPS.format(styles='deepmd deepspin lj/cut')),
        fake('softclay.dp.train', 'echo "min_nbor_dist: 3.4"'),
    ]
    results = check_codes(codes, placeholder_family)
    assert [result.code for result in results] == [code.full_label for code in codes]
    assert all(result.ok for result in results), results
    assert '-9.500' in results[0].message


def test_nothing_is_left_behind(fake, placeholder_family, localhost):
    """The folder of the check is removed from the work folder."""
    from pathlib import Path

    check_codes([fake('softclay.lammps', 'echo hello')], placeholder_family)
    assert not list(Path(localhost.get_workdir()).glob('check-*'))


def test_missing_family(fake):
    """Without potentials the static step cannot be made, and that is what is said."""
    (result,) = check_codes([fake('softclay.vasp_md', 'exit 0')], 'nonesuch')
    assert not result.ok
    assert 'nonesuch' in result.message


def test_code_of_another_package(fake):
    """A code for another plugin is no engine."""
    with pytest.raises(ValueError, match='no engine of this package'):
        engine_of(fake('core.arithmetic.add', 'exit 0'))


@pytest.mark.engine
def test_real_engines(lmp_code, dp_code, vasp_code, placeholder_family):
    """The engines that come with the package pass."""
    results = check_codes([lmp_code, dp_code, vasp_code], placeholder_family)
    assert all(result.ok for result in results), results
