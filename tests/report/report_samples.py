"""A study as the database holds it after it ran: its processes, data and links, made of small data in seconds."""

from __future__ import annotations

import io

import h5py
import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from figure_samples import body, outputs_of, pulsed, shaken, strain, stretched, thermo, walkers

from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.calcfunctions import onsager, structure_analysis, transport
from aiida_softclay.calcfunctions.results import collect_results
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import FrameBlock, FramesFile
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.workflows.study import StudyWorkChain

MIXTURE = '2LiCl-GaF3'
CHGNET = {'program': 'softclay-vasp', 'version': '0.1.0', 'model': 'CHGNet 0.3.0', 'dispersion': 'D2'}
ENGINE = 'LAMMPS 22 Jul 2025, DeePMD model.dp fitted to CHGNet 0.3.0'
#: What a user may have typed into a label, and what must not become markup.
HOSTILE = '<script>alert("clay")</script> & <b>bold</b>'
CALLS = {LinkType.RETURN: LinkType.CALL_WORK, LinkType.CREATE: LinkType.CALL_CALC}
GATE = {'rmse_energy_meV_atom': 30.0, 'rmse_force_meV_A': 400.0}


class Made:
    """A process with its inputs and outputs, stored as it would have been."""

    def __init__(
        self, kind, process_type, label, inputs, caller=None, call='', exit_status=0, message='', state='finished'
    ):
        self.node = kind()
        self.node.base.attributes.set('process_label', label)
        self.node.process_type = process_type
        for name, data in inputs.items():
            link = LinkType.INPUT_WORK if isinstance(self.node, orm.WorkflowNode) else LinkType.INPUT_CALC
            self.node.base.links.add_incoming(data if data.is_stored else data.store(), link_type=link, link_label=name)
        if caller is not None:
            link = LinkType.CALL_WORK if isinstance(self.node, orm.WorkflowNode) else LinkType.CALL_CALC
            self.node.base.links.add_incoming(caller.node, link_type=link, link_label=call or label)
        self.node.set_process_state(state)
        if state == 'finished':
            self.node.set_exit_status(exit_status)
            self.node.set_exit_message(message or None)
        self.node.base.attributes.set('version', {'core': '2.9.4', 'plugin': '0.1.0'})
        self.node.store()

    def gives(self, **outputs):
        """Return the outputs, linked to the process."""
        link = LinkType.RETURN if isinstance(self.node, orm.WorkflowNode) else LinkType.CREATE
        for name, data in outputs.items():
            # A workchain returns only what is stored already.
            if link is LinkType.RETURN:
                data.store()
            data.base.links.add_incoming(self.node, link_type=link, link_label=name)
            data.store()
        return outputs


def workchain(name, label, inputs, **about):
    return Made(orm.WorkChainNode, f'aiida.workflows:softclay.{name}', label, inputs, **about)


def calcfunction(label, inputs, caller=None):
    return Made(orm.CalcFunctionNode, '', label, inputs, caller)


def job(name, label, inputs, caller=None, code=None):
    return Made(orm.CalcJobNode, f'aiida.calculations:softclay.{name}', label,
                inputs | ({'code': code} if code is not None else {}), caller)  # fmt: skip


def number(name, value, error, unit, **about):
    return Quantity(name, value, error, unit, f'what {name} is', 12, 'block averages', **about)


def table(*quantities, **context):
    context = {'mixture': MIXTURE, 'engine': ENGINE, 'protocol': 'demo', 'n_atoms': 320} | context
    return orm.Dict(results_dict(quantities, **context))


def potential(rmse=(4.2, 118.0), passed=True):
    content = io.BytesIO()
    with h5py.File(content, 'w') as file:
        file['model'] = np.arange(8.0)
    content.seek(0)
    return PotentialData(
        content, filename='model.dp', type_map=['Li', 'Ga', 'F', 'Cl'], rcut=6.0, version='3.2.0', seed=11,
        test_rmse=dict(zip(('energy_meV_atom', 'force_meV_A'), rmse, strict=True)), labels=CHGNET,
        verdict={'passed': passed, 'gate': GATE, 'n_training_frames': 400, 'n_test_frames': 100,
                 'training_steps': 2000},
    )  # fmt: skip


def frames(folder, name, n_frames=5):
    rng = np.random.default_rng(len(name))
    block = FrameBlock.from_symbols(
        ['Li', 'Cl', 'Ga', 'F'], positions=rng.uniform(0, 6, (n_frames, 4, 3)),
        cells=np.tile(6 * np.eye(3), (n_frames, 1, 1)), energies=rng.normal(size=n_frames),
        forces=rng.normal(size=(n_frames, 4, 3)), virials=rng.normal(size=(n_frames, 3, 3)),
    )  # fmt: skip
    path = folder / f'{name}.h5'
    with FramesFile(path, 'w') as file:
        file.describe('e_fr_energy', CHGNET)
        file.append(block, {'label': name, 'stage': 'hold'})
    return FramesData.from_file(path)


def learning_curve(steps=60):
    step = np.arange(steps) * 50.0
    rng = np.random.default_rng(0)
    arrays = {'step': step}
    for suffix, factor in (('val', 1.2), ('trn', 1.0)):
        fall = np.exp(-step / 900) * np.exp(0.1 * rng.normal(size=steps))
        arrays[f'rmse_e_{suffix}'] = factor * (0.004 + 0.05 * fall)
        arrays[f'rmse_f_{suffix}'] = factor * (0.11 + 0.8 * fall)
    node = orm.ArrayData(arrays)
    units = {name: 'eV/atom' if '_e_' in name else 'eV/Å' if '_f_' in name else '1' for name in arrays}
    node.base.attributes.set('units', units)
    return node


def predictions(n_frames=100):
    rng = np.random.default_rng(1)
    energy, force = rng.normal(-3.5, 0.05, n_frames), rng.normal(size=(40 * n_frames, 3))
    node = orm.ArrayData({
        'energy_reference': energy, 'energy_predicted': energy + rng.normal(scale=0.0042, size=n_frames),
        'force_reference': force, 'force_predicted': force + rng.normal(scale=0.118, size=force.shape),
        'system_index': np.zeros(n_frames),
    })  # fmt: skip
    node.base.attributes.set('units', {'energy_reference': 'eV/atom', 'force_reference': 'eV/Å'})
    return node


def stage_thermo():
    """A run at zero stress whose density rises to its last value."""
    rng = np.random.default_rng(2)
    time = np.linspace(0, 10, 200)
    length = 20 * (1 + 0.02 * np.exp(-time / 2)) + rng.normal(scale=0.01, size=200)
    return orm.ArrayData({
        'time_ps': time, 'density_g_cm3': 2.4 * (20 / length) ** 3, 'cell': length[:, None, None] * np.eye(3)[None],
    })  # fmt: skip


class Study:
    """The nodes of a study; what is not asked for did not run."""

    def __init__(self, folder, *, experiments=('conductivity', 'stress_pulse', 'constant_strain'), fitted=True,
                 glass=True, label=MIXTURE, state='finished', exit_status=0, message='', code=None,
                 cached_from=None):  # fmt: skip
        self.folder, self.code, self.stages, self.cached_from = folder, code, {}, cached_from
        parameters = StudyWorkChain.get_protocol_inputs('demo', {'seed': 7}) | {'protocol': 'demo'}
        self.inputs = {'mixture': orm.Str(MIXTURE), 'parameters': orm.Dict(parameters),
                       'potential_family': orm.Str('placeholders')}  # fmt: skip
        self.study = workchain('study', 'StudyWorkChain', self.inputs, state=state, exit_status=exit_status,
                               message=message)  # fmt: skip
        self.node = self.study.node
        self.node.label = label
        self._sample()
        if fitted:
            self._fit()
        if glass:
            self._melt()
            for name in experiments:
                getattr(self, f'_{name}')()
        if state == 'finished' and exit_status == 0:
            self._collect()

    def _sample(self):
        self.frames = {}
        self.crystals = []
        for name, kind in (('salts_licl', 'LiCl'), ('salts_gaf3', 'GaF3'), ('slab', None)):
            facts = orm.Dict({'crystal': kind} if kind else {'mixture': MIXTURE})
            builder = calcfunction(f'build_{"crystal" if kind else "slab"}', {'parameters': facts}, self.study)
            structure = builder.gives(structure=_salt())['structure']
            self.crystals.append(structure)
            aimd = workchain('aimd', 'AimdWorkChain', {'structure': structure}, caller=self.study, call=f'aimd_{name}')
            segment = job('vasp_md', 'VaspMdCalculation', {'structure': structure}, aimd, self.code)
            made = segment.gives(frames=frames(self.folder, name))['frames']
            aimd.gives(frames__run_000=made)
            self.frames[f'{name}_000'] = made
            self.interface = job('vasp_md', 'VaspMdCalculation', {'structure': structure}, aimd).gives(
                structure=_salt()
            )
            aimd.gives(**self.interface)
        self.study.gives(**{f'frames__{name}': node for name, node in self.frames.items()})

    def _fit(self, exit_status=0):
        inputs = {f'frames__{name}': node for name, node in self.frames.items()}
        fit = workchain('fit_potential', 'FitPotentialWorkChain', inputs, caller=self.study, call='fit_potential',
                        exit_status=exit_status)  # fmt: skip
        judged = calcfunction('assess_potential', inputs, fit)
        results = table(number('rmse_energy', 4.2, 0.3, 'meV/atom'), number('rmse_force', 118.0, 5.0, 'meV/Å'))
        made = judged.gives(potential=potential(), results=results)
        fit.gives(**made, learning_curve=learning_curve(), test_details=predictions())
        self.potential = made['potential']
        self.study.gives(potential=self.potential, stages__potential=made['results'])
        self.stages['potential'] = made['results']

    def _melt(self):
        inputs = {'mixture': self.inputs['mixture'], 'potential': self.potential,
                  'interface': self.interface['structure'],
                  'parameters': orm.Dict({'protocol': 'demo', 'seed': 3})}  # fmt: skip
        glass = workchain('amorphous', 'AmorphousWorkChain', inputs, caller=self.study, call='amorphous')
        start = calcfunction('build_assembly', {'interface': self.interface['structure']}, glass)
        start.gives(structure=_salt(4))
        self.melt = shaken(self.folder)
        run = job('lammps', 'LammpsMdCalculation', {'potential': self.potential}, glass, self.code)
        run.gives(structure=_salt(4), trajectories__melt=self.melt, thermo__equilibrate=stage_thermo())
        results = table(
            number('density', 2.41, 0.02, 'g/cm^3', conditions={'temperature_K': 300.0, 'n_atoms': 320}),
            number('potential_energy', -3.612, 0.004, 'eV/atom', warnings=['the energy still drifts by 0.1 σ']),
        )
        census = {'before': {'Ga': {'GaF6': 0.9, 'GaF5Cl': 0.1}}, 'after': {'Ga': {'GaF4Cl2': 0.6, 'GaCl4': 0.4}}}
        checks = table(number('torn_molecules', 0.0, None, '1'), census=census)
        calcfunction('summarise_glass', {'structure': run.node.outputs.structure}, glass).gives(results=results)
        calcfunction('check_glass', {'structure': run.node.outputs.structure}, glass).gives(checks=checks)
        made = {
            'structure': run.node.outputs.structure, 'initial_structure': start.node.outputs.structure,
            'results': results, 'checks': checks, 'thermo__equilibrate': run.node.outputs.thermo.equilibrate,
            'trajectories__melt': self.melt,
        }  # fmt: skip
        glass.gives(**made)
        self.structure = made['structure']
        exchange = body(structure_analysis.analyse_anion_exchange)(
            self.melt, orm.Dict({'central': 'Ga', 'old_anion': 'F', 'new_anion': 'Cl'})
        )
        calcfunction('analyse_anion_exchange', {'trajectory': self.melt}, self.study).gives(**exchange)
        self.study.gives(structure=self.structure, stages__amorphous=results, stages__checks=checks,
                         stages__exchange=exchange['results'], pair_distributions=exchange['curve'])  # fmt: skip
        self.stages |= {'amorphous': results, 'checks': checks, 'exchange': exchange['results']}

    def _experiment(self, name, label, stage, made, further=None, trajectory=None):
        inputs = {'structure': self.structure, 'potential': self.potential,
                  'parameters': orm.Dict({'protocol': 'demo', 'seed': 5, 'temperature_K': 300.0})}  # fmt: skip
        run = workchain(name, label, inputs, caller=self.study, call=name)
        md = job(
            'lammps', 'LammpsMdCalculation', {'structure': self.structure, 'potential': self.potential}, run, self.code
        )
        trajectory = trajectory or walkers(self.folder, name=name)
        md.gives(**{f'trajectories__{stage}': trajectory})
        analysis = calcfunction(f'analyse_{name}', {'trajectory': trajectory}, run)
        analysis.gives(**made)
        run.gives(**made, **{f'trajectories__{stage}': trajectory})
        self.study.gives(**{f'stages__{name}': made['results'], f'curves__{name}': made['curve']})
        self.stages[name] = made['results']
        for extra, nodes in (further or {}).items():
            calcfunction(f'analyse_{extra}', {'trajectory': trajectory}, run).gives(**nodes)
            arrays = {f'further_curves__{extra}_{key}': node for key, node in nodes.items() if key != 'results'}
            run.gives(**{f'further__{extra}': nodes['results']}, **arrays)
            self.study.gives(**{f'stages__{name}_{extra}': nodes['results']})
            self.stages[f'{name}_{extra}'] = nodes['results']
        return trajectory

    def _conductivity(self):
        charges = orm.Dict({'charges': {'Li': 1, 'Cl': -1}, 'context': {'engine': ENGINE, 'protocol': 'demo'}})
        node = walkers(self.folder)
        made = body(transport.analyse_conductivity)(node, thermo(), charges)
        collective = body(onsager.analyse_ionic_conductivity)(node, thermo(), charges)
        self.walk = self._experiment('conductivity', 'ConductivityWorkChain', 'production', made,
                                     {'collective': collective}, node)  # fmt: skip

    def _stress_pulse(self):
        self._experiment('stress_pulse', 'StressPulseWorkChain', 'release', pulsed())

    def _constant_strain(self):
        found = strain(self.folder)
        # Pictures of cells take most of the time of a page, and there is one of the glass.
        for name in [name for name in found['atoms'].get_arraynames() if name.startswith('snapshot')]:
            found['atoms'].delete_array(name)
        self._experiment('constant_strain', 'ConstantStrainWorkChain', 'deform', stretched(), {'plasticity': found})

    def _collect(self):
        context = orm.Dict({'mixture': MIXTURE, 'protocol': 'demo', 'engine': ENGINE, 'model_atoms': 320})
        # A table from the cache is a copy of the first one, with the nodes that that one was made of.
        first = self.cached_from
        collected = first.node.outputs.results.clone() if first else body(collect_results)(context, **self.stages)
        maker = calcfunction('collect_results', {'context': context, **self.stages}, self.study)
        self.study.gives(**maker.gives(result=collected) and {'results': collected})

    def analysed(self, name='mobility_classes'):
        """Return a job of an analysis that was launched later on the trajectory of the conductivity run."""
        inputs = {'analysis': orm.Str(name), 'trajectories__trajectory': self.walk}
        made = job('analysis', 'AnalysisCalculation', inputs, code=self.code)
        outputs = outputs_of(name, self.folder)
        made.gives(results=outputs.pop('results'), **{f'arrays__{key}': node for key, node in outputs.items()})
        return made.node


def _salt(edge=1):
    from figure_samples import mixed_salt

    return orm.StructureData(ase=mixed_salt(edge))
