"""``softclay launch validate-potential``: the plan of a validation, and sentences for what cannot be validated."""

from __future__ import annotations

import pytest
import yaml
from aiida import orm
from click.testing import CliRunner
from launch_samples import MODEL, record_codes

from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.cli.launch import launch
from aiida_softclay.cli.launch_validate import structure_label


def run(*arguments):
    return CliRunner().invoke(launch, ['validate-potential', *map(str, arguments)], terminal_width=200)


@pytest.fixture
def potential(aiida_profile_clean, localhost):
    from aiida_softclay.data.potential import PotentialData

    upload_placeholder_family('placeholders', ['Li', 'Cl'])
    record_codes(localhost)
    return PotentialData(MODEL).store()


def processes() -> int:
    return orm.QueryBuilder().append(orm.WorkChainNode).count()


def test_dry_run_prints_every_part(potential, tmp_path):
    outcome = run(potential.pk, '--dry-run')
    assert outcome.exit_code == 0, outcome.output
    for part in (
        'label:parity_LiCl',
        'label:bulk_modulus_LiCl',
        'label:tension_LiCl',
        'aimd:LiCl_1000K',
        'md:LiCl_1000K',
    ):
        assert part in outcome.output
    overrides = tmp_path / 'changes.yaml'
    overrides.write_text(yaml.safe_dump({'tension': {'structures': []}, 'conductivity': {'runs': []}}))
    named = run(potential.pk, 'big=LiCl', 'LiCl', '--min-length', '8', '-n', '-O', overrides)
    assert named.exit_code == 0, named.output
    assert 'label:parity_big' in named.output
    assert 'label:bulk_modulus_LiCl' in named.output
    assert 'tension' not in named.output
    assert 'aimd' not in named.output
    assert processes() == 0


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (('GaF3',), 'contains F, Ga, which the potential (Li-Cl) does not know'),
        (('LiCl', 'LiCl'), 'two structures are called LiCl'),
        (('a__b=LiCl',), 'cannot name a structure'),
        (('Unobtainium',), 'neither a file nor the pk of a structure'),
        (('--protocol', 'yang2024'), 'the structure a contains F, Ga, Mg, which'),
        (('--protocol', 'none'), 'unknown protocol'),
    ],
)
def test_what_cannot_be_validated_is_said(potential, arguments, sentence):
    outcome = run(potential.pk, *arguments, '--dry-run')
    assert outcome.exit_code != 0
    assert sentence in ' '.join(outcome.output.split()), outcome.output
    assert processes() == 0


@pytest.mark.parametrize(
    ('text', 'label'), [('LiCl', 'LiCl'), ('a/b-c d.cif', 'b_c_d'), ('1234', 's1234'), ('_x_', 'x')]
)
def test_labels_are_made_of_what_was_given(text, label):
    assert structure_label(text) == label
