"""The whole chain with the real engines, as small as it goes, and the inputs it refuses."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_softclay.analysis.quantity import check_results
from aiida_softclay.calculations.md_plan import LARGEST_SEED, MdPlan
from aiida_softclay.calculations.potcars import upload_placeholder_family
from aiida_softclay.report.provenance import trace
from aiida_softclay.report.queries import results_table
from aiida_softclay.structures.composition import Mixture
from aiida_softclay.structures.crystals import crystal
from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain
from aiida_softclay.workflows.sampling import sampling_plan, validate_sampling
from aiida_softclay.workflows.study import EXPERIMENTS, StudyWorkChain
from aiida_softclay.workflows.study_seeds import LARGEST_STUDY_SEED, STAGE_SEEDS, stage_seeds, with_stage_seeds

ELEMENTS = ['Li', 'Ga', 'F', 'Cl']
STAGES = [{'name': 'hold', 'kind': 'nve', 'duration_ps': 1.0}]
SCHEDULE = {'schedule': {'heat_fs': 20.0, 'hold_fs': 20.0, 'cool_fs': 0.0}}
#: Eight particles of one formula unit, a network of a few neurons, tens of steps: minutes become seconds. The numbers
#: mean nothing; what is tested is that every stage hands the right node to the next.
OVERRIDES = {
    'sampling': {
        'interface': 'slab',
        'structures': [
            {'label': 'salts', 'kind': 'salts', 'min_length': 3.5, 'protocol': 'demo', 'overrides': SCHEDULE},
            {'label': 'slab', 'kind': 'slab', 'n_atoms': 16, 'protocol': 'demo', 'overrides': SCHEDULE},
            {'label': 'melt', 'kind': 'melt', 'n_formula_units': 2, 'protocol': 'demo', 'overrides': SCHEDULE},
        ],
    },
    'fit': {
        'overrides': {
            'gate': {'rmse_energy_meV_atom': 1e-6, 'rmse_force_meV_A': 1e-6},
            'compress': False,
            'deepmd': {
                'model': {'descriptor': {'rcut': 4.5, 'neuron': [4, 8]}, 'fitting_net': {'neuron': [8, 8]}},
                'training': {'numb_steps': 150, 'save_freq': 150, 'disp_freq': 50},
            },
        }
    },
    'amorphous': {
        'overrides': {
            'n_atoms': 64,
            'relax': {'max_steps': 20},
            'melt': {'duration_ps': 0.04, 'dump_every': 1, 'temperature_K': 300.0},
            'equilibrate': {'duration_ps': 0.04, 'dump_every': 5, 'coupling': 'iso'},
            'thermo_every': 1,
            'density_range': [0.01, 100.0],
            'contact_fraction': 0.0,
            'reference_energies': False,
        }
    },
    'stress_pulse': {
        'overrides': {'equilibrate_ps': 0.03, 'load_ps': 0.03, 'release_ps': 0.03, 'thermo_every': 1, 'dump_every': 10}
    },
    # Not far enough for a network of 150 steps to heat up beyond the limit.
    'constant_strain': {
        'overrides': {
            'equilibrate_ps': 0.02,
            'rate_per_ps': 0.9,
            'maximum_strain': 0.1,
            'thermo_every': 1,
            'dump_every': 10,
        }
    },
    'conductivity': {'overrides': {'equilibrate_ps': 0.02, 'duration_ps': 0.06, 'thermo_every': 1, 'dump_every': 1}},
}


def study_builder(codes, **arguments):
    arguments.setdefault('overrides', OVERRIDES)
    return StudyWorkChain.get_builder_from_protocol(
        codes, '2LiCl-GaF3', potential_family='placeholders', protocol='demo', **arguments
    )


@pytest.fixture
def codes(vasp_code, dp_code, lmp_code):
    upload_placeholder_family('placeholders', ELEMENTS)
    return {'vasp': vasp_code, 'dp': dp_code, 'lmp': lmp_code}


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_chain_from_salts_to_numbers(aiida_profile_clean, codes):
    from aiida.engine import run_get_node

    _, refused = run_get_node(study_builder(codes))
    assert refused.exit_status == StudyWorkChain.exit_codes.ERROR_POTENTIAL_REFUSED.status, refused.exit_message
    assert 'meV/atom' in refused.exit_message
    # Nothing goes on from a refused potential, but nothing of it is lost.
    assert 'amorphous' not in {child.process_label for child in refused.called}
    potential = refused.outputs.potential
    assert sum(node.n_frames for node in dict(refused.outputs.frames).values()) > 0
    assert {name.rpartition('_')[0] for name in dict(refused.outputs.frames)} >= {'slab', 'melt', 'salts_licl'}
    check_results(refused.outputs.stages.potential.get_dict())

    _, study = run_get_node(study_builder(codes, potential=potential))
    assert study.is_finished_ok, study.exit_message
    check_results(study.outputs.results.get_dict())
    names = set(results_table(process=study)['name'])
    assert {'amorphous.density', 'exchange.anion_exchange.after', 'conductivity.conductivity.Li'} <= names
    assert 'stress_pulse.residual_strain.cycle_1' in names
    assert 'constant_strain.shear_modulus' in names
    assert study.outputs.structure.get_composition(mode='full') == {'Li': 16, 'Cl': 16, 'Ga': 8, 'F': 24}
    assert set(study.outputs.curves) == {'stress_pulse', 'constant_strain', 'conductivity'}

    steps = trace(study)
    kinds = [step.kind for step in steps]
    assert {'results', 'trajectory', 'potential', 'frames', 'structure', 'facts'} <= set(kinds)
    facts = [step.node.get_dict() for step in steps if step.kind == 'facts']
    assert {'LiCl', 'GaF3'} <= {fact.get('crystal') for fact in facts}
    engines = {step.engine for step in steps if step.kind == 'frames'}
    assert all('CHGNet' in engine for engine in engines)
    assert potential.uuid in {step.node.uuid for step in steps}
    # A number says whose labels its potential was fitted to.
    assert 'fitted to CHGNet' in study.outputs.results['context']['engine']


@pytest.mark.parametrize(
    ('mixture', 'sentence'),
    [
        ('2LiCl-GaF9', 'GaF9'),
        ('2LiCl-Unobtainium', 'Unobtainium'),
        ('LiCl-GaF2', 'not neutral'),
        ('', 'empty'),
        ('0LiCl-GaF3', 'larger than 0'),
    ],
)
def test_unknown_and_charged_salts_are_named(codes, mixture, sentence):
    builder = study_builder(codes)
    with pytest.raises(ValueError, match=sentence):
        builder.mixture = orm.Str(mixture)


def validate(builder):
    return StudyWorkChain.spec().inputs.validate(builder._inputs(prune=True))


def test_missing_codes_and_families_are_named(codes):
    assert validate(study_builder(codes)) is None
    builder = study_builder({'lmp': codes['lmp'], 'vasp': codes['vasp']})
    assert 'codes.dp is missing' in validate(builder).message
    builder = StudyWorkChain.get_builder_from_protocol(codes, '2LiCl-GaF3')
    assert 'potential_family is missing' in validate(builder).message


def test_structure_that_cannot_be_built_is_named(codes):
    from aiida.engine import run_get_node

    structures = [{'label': 'slab', 'kind': 'slab', 'protocol': 'demo', 'n_atoms': 16, 'max_strain': 1e-6}]
    overrides = {'sampling': {'structures': structures}}
    _, node = run_get_node(study_builder(codes, overrides=overrides))
    assert node.exit_status == StudyWorkChain.exit_codes.ERROR_STRUCTURE.status
    assert '`slab` cannot be built' in node.exit_message


def set_up(builder):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    return process


def test_every_stage_has_a_seed_of_its_own(codes, monkeypatch):
    builder = study_builder(codes, overrides={**OVERRIDES, 'seed': 7})
    process = set_up(builder)
    submitted = {}
    monkeypatch.setattr(type(process), 'submit', lambda self, made: submitted.setdefault('last', made))
    monkeypatch.setattr('aiida_softclay.workflows.study.ToContext', dict)
    process.ctx.potential, process.ctx.parameters.sampling.interface = None, None
    process.run_amorphous()
    seeds = {'amorphous': submitted['last'].parameters['seed']}
    process.ctx.structure = orm.StructureData(ase=crystal('LiCl'))
    for name in EXPERIMENTS:
        seeds[name] = process.build_branch(name).parameters['seed']
    fit = FitPotentialWorkChain.get_protocol_inputs('demo', process.ctx.parameters.fit.overrides)
    assert fit['seed'] == fit['dataset']['seed'] == 1007
    assert {**seeds, 'fit': fit['seed']} == stage_seeds(7)
    sampled = [entry.overrides['plan']['seed'] for entry in sampling_plan(
        process.ctx.parameters.sampling, Mixture.parse('2LiCl-GaF3'), process.ctx.parameters.seed)]  # fmt: skip
    every = [*sampled, *stage_seeds(7).values()]
    assert len(set(every)) == len(every) == len(sampled) + len(STAGE_SEEDS)
    # What the user gave is on record as it was given.
    assert builder.parameters['amorphous']['overrides'] == OVERRIDES['amorphous']['overrides']


def test_seeds_of_the_user_stay_and_neighbouring_studies_share_none():
    parameters = StudyWorkChain.get_protocol_inputs('demo', {'amorphous': {'overrides': {'seed': 5, 'n_atoms': 64}}})
    seeded = with_stage_seeds({**parameters, 'seed': 3})
    assert seeded['amorphous']['overrides'] == {'seed': 5, 'n_atoms': 64}
    assert seeded['conductivity']['overrides'] == {'seed': 5003}
    assert parameters['conductivity']['overrides'] == {}
    assert not set(stage_seeds(1).values()) & set(stage_seeds(2).values())
    # The seeds of MD and of the fit stay within what the programs take.
    assert MdPlan(seed=max(stage_seeds(LARGEST_STUDY_SEED).values()), stages=STAGES).seed < LARGEST_SEED


@pytest.mark.parametrize('seed', [0, -1, 1.5, '7', True, None, LARGEST_STUDY_SEED + 1])
def test_a_seed_that_nothing_can_be_derived_from_is_named(codes, seed):
    message = validate(study_builder(codes, overrides={**OVERRIDES, 'seed': seed})).message
    assert f'seed is {seed!r}: give a whole number from 1 to' in message


def test_sampling_is_laid_out_and_checked():
    mixture = Mixture.parse('2LiCl-GaF3')
    demo = StudyWorkChain.get_protocol_inputs('demo')['sampling']
    plan = sampling_plan(demo, mixture, 7)
    assert [entry.label for entry in plan] == ['salts_licl', 'salts_gaf3', 'slab', 'melt']
    seeds = [entry.overrides['plan']['seed'] for entry in plan]
    assert len(set(seeds)) == len(seeds)
    assert validate_sampling(demo, mixture) is None
    paper = sampling_plan(StudyWorkChain.get_protocol_inputs('paper')['sampling'], mixture, 1)
    crystals = [entry.parameters['crystal'] for entry in paper if entry.kind == 'crystal']
    assert {'LiCl', 'GaF3', 'Li3GaF6', 'GaCl3'} <= set(crystals)
    slabs = [entry.label for entry in paper if entry.kind == 'slab']
    assert slabs == ['slab', 'slab_medium', 'slab_thick', 'interface']


@pytest.mark.parametrize(
    ('sampling', 'sentence'),
    [
        ({'structures': []}, 'no structure is sampled'),
        ({'structures': [{'label': 'a', 'kind': 'gas', 'protocol': 'demo'}]}, 'kind `gas`'),
        ({'structures': [{'label': 'a', 'kind': 'slab'}]}, 'lacks protocol'),
        ({'structures': [{'label': 'a', 'kind': 'slab', 'protocol': 'demo', 'n_atom': 3}]}, 'does not know n_atom'),
        (
            {'interface': 'b', 'structures': [{'label': 'a', 'kind': 'slab', 'protocol': 'demo'}]},
            'interface is `b`, which is not sampled',
        ),
    ],
)
def test_wrong_sampling_is_named(sampling, sentence):
    assert sentence in validate_sampling(sampling, Mixture.parse('2LiCl-GaF3'))
