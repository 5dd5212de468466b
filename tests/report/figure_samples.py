"""Small made-up data for every figure, put through the analyses that measure real ones."""

from __future__ import annotations

import inspect

import numpy as np
from aiida import orm
from ase.build import bulk

from aiida_softclay.analysis.arrhenius import BOLTZMANN_EV
from aiida_softclay.analysis.quantity import Quantity, results_dict
from aiida_softclay.calcfunctions import (
    arrhenius,
    conformation,
    density,
    glass_transition,
    ion_motion,
    mechanics,
    onsager,
    phase_fit,
    plasticity,
    powder,
    scattering,
    series,
    structure_analysis,
    structure_series,
    thermodynamics,
    transport,
)
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_file import TrajectoryFile

ENGINE = {'program': 'LAMMPS', 'version': '22 Jul 2025', 'potential': 'made up'}
#: Made up, eV per formula unit: 3 LiCl + 2 GaF3 -> Li3GaF6 + GaCl3 releases 1.4 eV on 14 atoms.
ENERGIES = {
    'LiCl': -4.0, 'GaF3': -12.0, 'Li3GaF6': -32.4, 'GaCl3': -5.0, 'LiF': -6.6, 'Li': 0.0, 'Ga': 0.0, 'F2': 0.0,
    'Cl2': 0.0, 'LiGaCl4': -9.05,
}  # fmt: skip
PAIRS = [['LiCl', 'GaF3'], ['LiF', 'GaCl3'], ['LiI', 'GaF3'], ['LiBr', 'GaF3']]


def body(function):
    """Return a calcfunction without its provenance, which takes longer than small data."""
    return inspect.unwrap(function)


def trajectory(folder, positions, cells, numbers, every=100, name='trajectory'):
    path = folder / f'{name}.h5'
    cells = np.broadcast_to(cells, (len(positions), 3, 3))
    with TrajectoryFile(path, 'w', numbers, 0.001, engine=ENGINE, stage='production') as target:
        for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
            target.append(frame, cell, index * every)
    return MdTrajectoryData.from_file(path)


def thermo(temperature=600.0):
    return orm.ArrayData({'temperature_K': temperature + np.random.default_rng(0).normal(scale=5, size=60)})


def mixed_salt(edge=4):
    """Rock salt of Ga with F and Cl at random."""
    atoms = bulk('LiF', 'rocksalt', a=4.6, cubic=True) * (edge, edge, edge)
    symbols = np.array(atoms.get_chemical_symbols(), dtype='U2')
    symbols[symbols == 'Li'] = 'Ga'
    anions = np.flatnonzero(symbols == 'F')
    symbols[anions[np.random.default_rng(0).random(anions.size) < 0.4]] = 'Cl'
    atoms.set_chemical_symbols(symbols)
    return atoms


def walkers(folder, n_frames=150, name='walkers'):
    """LiCl whose ions walk, some of the cations much farther than the others."""
    atoms = bulk('LiCl', 'rocksalt', a=5.14, cubic=True).repeat(2)
    rng = np.random.default_rng(0)
    step = np.where(atoms.numbers == 3, rng.gamma(2.0, 0.08, len(atoms)), 0.04)[:, None]
    walk = np.cumsum(rng.normal(size=(n_frames, len(atoms), 3)) * step, axis=0)
    return trajectory(folder, atoms.positions + walk - walk[0], atoms.cell[:], atoms.numbers, name=name)


def strain(folder, rule='percentile'):
    """A salt whose middle layer gives way between the strains 0.03 and 0.05."""
    atoms = mixed_salt()
    n_frames = 11
    length = atoms.cell[0, 0]
    cells = np.repeat(atoms.cell[:][None], n_frames, axis=0)
    cells[:, 2, 1] += np.linspace(0, 0.10, n_frames) * length
    rng = np.random.default_rng(1)
    noise = rng.normal(scale=0.08, size=(n_frames, len(atoms), 3))
    middle = np.abs(atoms.get_scaled_positions()[:, 2] - 0.5) < 0.15
    noise[4:6, middle] *= 5
    node = trajectory(folder, atoms.get_scaled_positions() @ cells + noise, cells, atoms.numbers, name='strain')
    rest = atoms.positions + rng.normal(scale=0.05, size=(n_frames, len(atoms), 3))
    still = trajectory(folder, rest, atoms.cell[:], atoms.numbers, name='rest')
    parameters = {'component': 'yz', 'cutoff': 4.0, 'central': 'Ga', 'strain_window': [0.02, 0.08],
                  'class_rule': rule, 'context': {'mixture': '2LiCl-GaF3', 'protocol': 'demo'}}  # fmt: skip
    return body(plasticity.analyse_plasticity)(node, orm.Dict(parameters), reference=still)


def tetrahedra(folder):
    """Three tetrahedra of AlCl4, one of which turns; lithium ions that go from one to the other."""
    corners = 2.1 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    centres = np.array([[2.0, 2, 2], [11.0, 2, 2], [2.0, 11, 2]])
    frames = []
    for row in range(60):
        angle = np.pi / 2 * min(row / 30, 1)
        turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        units = [[centre, *(corners @ (turn if index == 0 else np.eye(3)) + centre)]
                 for index, centre in enumerate(centres)]  # fmt: skip
        lithium = [centres[0 if row < 30 else 1] + [0, 0, 3.0], centres[1 if row < 20 else 2] + [0, 0, 3.0]]
        frames.append(np.concatenate([*units, lithium]))
    noise = np.random.default_rng(3).normal(scale=0.03, size=(60, 17, 3))
    return trajectory(folder, np.array(frames) + noise, np.eye(3) * 20, np.array([13, 17, 17, 17, 17] * 3 + [3, 3]),
                      every=500, name='tetrahedra')  # fmt: skip


def dimers(folder):
    """Two O(AlCl3)2 whose ends turn against each other in steps, and one Li."""
    rng = np.random.default_rng(4)
    twists = np.where((np.arange(240) // 60) % 2, 0.0, 60.0) + rng.normal(scale=6, size=240)
    bends = 12 * np.abs(rng.normal(size=240))
    arms = []
    for twist, bend in zip(twists, np.radians(bends), strict=True):
        atoms = [np.zeros(3)]
        ends = []
        for side, turn in ((-1, 0.0), (1, twist)):
            phi = np.radians(120 * np.arange(3) + turn)
            ring = np.column_stack([np.full(3, side * 2.4), 2.0 * np.cos(phi), 2.0 * np.sin(phi)])
            c, s = np.cos(side * bend / 2), np.sin(side * bend / 2)
            turned = np.vstack([[side * 1.7, 0, 0], ring]) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
            ends.append(turned)
        atoms += [ends[0][0], ends[1][0], *ends[0][1:], *ends[1][1:]]
        arms.append(atoms)
    single = np.array(arms)
    lithium = np.full((240, 1, 3), 3.0)
    positions = np.concatenate([single + 6.0, single + np.array([6.0, 6.0, 13.0]), lithium], axis=1)
    return trajectory(folder, positions, np.diag([14.0, 14, 18]), np.array([8, 13, 13, *[17] * 6] * 2 + [3]),
                      name='dimers')  # fmt: skip


def grains(folder):
    """A salt of two grains whose magnesium moves at the boundary only."""
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*[np.arange(1.0, 18.0, 3.0)] * 3, indexing='ij'), axis=-1).reshape(-1, 3)
    numbers = np.where(np.arange(len(grid)) % 2, 12, 17)
    scale = np.where(numbers == 12, np.where(np.isin(grid[:, 2], [1.0, 7.0, 10.0, 16.0]), 0.4, 0.05), 0.0)
    walk = np.cumsum(rng.normal(size=(150, len(grid), 3)), axis=0)
    node = trajectory(folder, grid + (walk - walk[0]) * scale[:, None], np.eye(3) * 18, numbers, every=500,
                      name='grains')  # fmt: skip
    return body(ion_motion.analyse_boundary_mobility)(
        node, thermo(300.0), orm.ArrayData({'grain': (grid[:, 2] > 9).astype(int)}),
        orm.Dict({'species': 'Mg', 'charge': 2, 'cutoff': 3.5}),
    )  # fmt: skip


def cube(folder):
    """A lithium ion that runs along c of an oblique cell, and chlorine ions at rest."""
    rng = np.random.default_rng(5)
    cell = np.array([[8.0, 0, 0], [2.0, 7.0, 0], [0.5, 0.5, 9.0]])
    scaled = np.tile(np.array([[0.5, 0.5, 0.5]]), (200, 6, 1)) + np.array([[0, 0, 0], *[[0.3, 0.2, 0.1]] * 5])
    scaled[:, 0, 2] = rng.random(200)
    positions = scaled @ cell + rng.normal(scale=0.35, size=(200, 6, 3))
    positions[:, 5] = scaled[:, 5] @ cell
    node = trajectory(folder, positions, cell, np.array([3, 17, 17, 17, 17, 83]), name='density')
    return body(density.analyse_density_map)(
        node, orm.Dict({'species': ['Li', 'Cl'], 'spacing': 0.4, 'smoothing': 0.4})
    )


def activation():
    """Diffusivities of 0.3 eV with errors, read off at 300 K."""
    rng = np.random.default_rng(6)
    runs = {}
    for T in (340.0, 380.0, 420.0, 460.0):
        value = 1e-2 * np.exp(-0.3 / (BOLTZMANN_EV * T)) * np.exp(0.1 * rng.normal())
        about = {'conditions': {'temperature_K': T}, 'n_samples': 10}
        rows = [Quantity('diffusivity.Li', value, 0.12 * value, 'cm^2/s', 'D', **about)]
        runs[f'run_{T:.0f}'] = orm.Dict(results_dict(rows))
    parameters = {'quantity': 'diffusivity.Li', 'at_K': [300.0], 'glass_transition_K': 256.0}
    return body(arrhenius.analyse_arrhenius)(orm.Dict(parameters), **runs)


def table():
    rows = [
        {'id': name, 'formula': name, 'energy_eV': energy, 'engine': 'made up', 'error_eV': 0.05, 'volume_change': 0.0}
        for name, energy in ENERGIES.items()
    ]
    return orm.Dict({'entries': rows})


def reactions():
    return body(thermodynamics.assess_thermodynamics)(
        table(), orm.Dict({'salts': ['LiCl', 'GaF3'], 'ion': 'Li', 'moles': {'LiCl': 2, 'GaF3': 1}})
    )


def pairs_of_salts():
    return body(thermodynamics.screen_salts)(table(), orm.Dict({'pairs': PAIRS}))


def cooled():
    """Densities of a ladder of temperatures whose expansion changes at 220 K."""
    rng = np.random.default_rng(7)
    ladder = np.arange(120.0, 340.0, 20.0)
    stages, series = [], {}
    for T in ladder:
        volume = 0.4 + 2e-5 * (T - 220) + 8e-5 * max(T - 220, 0)
        volumes = volume + rng.normal(scale=2e-4, size=200)
        series[f'T{T:.0f}'] = orm.ArrayData(
            {'temperature_K': T + rng.normal(scale=2, size=200), 'density_g_cm3': 1 / volumes}
        )
        stages.append({'name': f'T{T:.0f}', 'temperature_K': T})
    options = {
        'mode': 'ladder', 'stages': stages, 'rate_K_per_ps': 0.5, 'discard_share': 0.2, 'drift_tolerance': 3.0,
        'confidence': 0.95, 'n_resamples': 200, 'seed': 0,
    }  # fmt: skip
    return body(glass_transition.analyse_glass_transition)(orm.Dict(options), **series)


def cell_series(shear, stress, times, noise=0.0):
    """Time series of a run whose cell follows a shear strain."""
    rng = np.random.default_rng(8)
    cells = np.repeat(np.eye(3)[None] * 20.0, len(shear), axis=0)
    cells[:, 2, 1] = np.asarray(shear) * 20.0
    return orm.ArrayData({
        'time_ps': times, 'cell': cells, 'temperature_K': 300 + rng.normal(scale=3, size=len(times)),
        'stress_yz_GPa': np.asarray(stress) + rng.normal(scale=noise, size=len(times)),
        'potential_energy_eV': -1000 + 0.2 * np.asarray(shear) + rng.normal(scale=0.05, size=len(times)),
    })  # fmt: skip


def stretched():
    """A modulus of 8 GPa that yields at 0.4 GPa."""
    shear = np.linspace(0, 0.15, 1500)
    stress = 0.4 * np.tanh(8.0 * shear / 0.4)
    node = cell_series(shear, stress, 1000 * shear, noise=0.03)
    return body(mechanics.analyse_stress_strain_curve)(
        node, orm.Dict({'component': 'yz', 'rate_per_ps': 1e-3, 'n_atoms': 320})
    )


def pulsed():
    """Two pulses of 50 MPa, each of which leaves some strain."""
    rng = np.random.default_rng(9)
    stages, series, start, left = [], {}, 0.0, 0.0
    for name, kind, cycle in (('rest', 'reference', 0), ('load_1', 'on', 1), ('free_1', 'off', 1), ('load_2', 'on', 2),
                              ('free_2', 'off', 2)):  # fmt: skip
        times = start + np.arange(0, 40.0, 0.1)
        load = 0.05 if kind == 'on' else 0.0
        relax = np.exp(-(times - start) / 5)
        target = {'reference': 0.0, 'on': left + 0.012, 'off': left + 0.004}[kind]
        before = left if kind == 'on' else (left + 0.012 if kind == 'off' else 0.0)
        shear = target + (before - target) * relax + rng.normal(scale=1e-3, size=len(times))
        left = target if kind == 'off' else left
        series[name] = cell_series(shear, np.full(len(times), load), times, noise=0.02)
        stages.append({'name': name, 'kind': kind, 'cycle': cycle, 'stress_GPa': load})
        start = times[-1] + 0.1
    options = {'component': 'yz', 'n_atoms': 320, 'stages': stages, 'half_width_ps': 2.0}
    return body(mechanics.analyse_pulses)(orm.Dict(options), **series)


def rates():
    """Glass transitions of three cooling rates."""
    runs = {}
    for index, (rate, value) in enumerate(((0.1, 210.0), (1.0, 220.0), (10.0, 232.0))):
        about = {'conditions': {'cooling_rate_K_per_ps': rate, 'interval_K': [value - 8, value + 8]}, 'n_samples': 9}
        rows = [Quantity('glass_transition_temperature', value, 4.0, 'K', 'Tg', **about)]
        runs[f'rate_{index}'] = orm.Dict(results_dict(rows))
    return body(glass_transition.analyse_cooling_rates)(orm.Dict({}), **runs)


def of_series(experiment):
    """Three magnitudes, of which the largest leaves a strain; or yield stresses at three rates and two temperatures."""
    points, runs = [], {}

    def add(label, values, **numbers):
        names = [f'{label}_seed_{seed}' for seed in (1, 2, 3)]
        points.append({'label': label, 'values': values, 'runs': names})
        for seed, name in enumerate(names):
            rows = [
                Quantity(key.replace('__', '.'), value * (1 + 0.01 * (seed - 1)), error, 'GPa', 'given', n_samples=20)
                for key, (value, error) in numbers.items()
            ]
            runs[name] = orm.Dict(results_dict(rows))

    if experiment == 'stress_pulse':
        for size, residual in ((10, 1e-4), (30, 2e-3), (50, 2e-2)):
            add(f'magnitude_{size}', {'magnitude_mpa': size}, residual_strain__cycle_1=(residual, 5e-4),
                strain_under_load__cycle_1=(0.02, 1e-3), thermal_strain_noise=(0.002, 1e-4))  # fmt: skip
    else:
        for temperature in (300.0, 400.0):
            for rate in (1e-4, 1e-3, 1e-2):
                stress = 0.8 - temperature / 1000 + 0.03 * np.log(rate / 1e-3)
                label = f't_{temperature:g}_{rate:g}'.replace('.', '_').replace('-', '_')
                add(label, {'temperature_K': temperature, 'rate_per_ps': rate}, yield_stress__maximum=(stress, 0.005))
    settings = orm.Dict({'points': points, 'experiment': experiment, 'confidence': 0.95})
    return body(series.combine_runs)(settings, **runs)


def outputs_of(name, folder):
    """Return what an analysis gives for its sample: the names of outputs to nodes; the panels' own name first."""
    bonds = {'centre': 'Ga', 'bonds': {'F': 2.8, 'Cl': 2.8}}
    if name in ('conductivity', 'ionic_conductivity'):
        charges = orm.Dict({'charges': {'Li': 1, 'Cl': -1}})
        analyse = transport.analyse_conductivity if name == 'conductivity' else onsager.analyse_ionic_conductivity
        return body(analyse)(walkers(folder), thermo(), charges)
    simple = {
        'anion_motion': lambda: body(ion_motion.analyse_anion_motion)(
            tetrahedra(folder), orm.Dict({'bonds': {'Cl': 2.7}})
        ),
        'hops': lambda: body(ion_motion.analyse_hops)(tetrahedra(folder), orm.Dict({'bonds': {'Cl': 2.7}})),
        'arrhenius': activation, 'boundary_mobility': lambda: grains(folder),
        'bond_lifetimes': lambda: body(structure_series.analyse_bond_lifetimes)(
            walkers(folder), orm.Dict({'bonds': {'Li-Cl': 3.6}})
        ),
        'census': lambda: body(structure_series.analyse_census)(shaken(folder), orm.Dict(bonds)),
        'chains': lambda: body(structure_series.analyse_chains)(walkers(folder), orm.Dict(
            {'centre': 'Li', 'bonds': {'Cl': 2.4}}
        )),
        'anion_exchange': lambda: body(structure_analysis.analyse_anion_exchange)(shaken(folder), orm.Dict(
            {'central': 'Ga', 'old_anion': 'F', 'new_anion': 'Cl'}
        )),
        'conformation': lambda: body(conformation.analyse_conformation)(dimers(folder), orm.Dict({})),
        'constant_strain': stretched, 'constant_strain_series': lambda: of_series('constant_strain'),
        'stress_pulse_series': lambda: of_series('stress_pulse'),
        'powder_pattern': lambda: body(powder.analyse_powder_pattern)(
            orm.StructureData(ase=bulk('LiCl', 'rocksalt', a=5.13)), orm.Dict({})
        ),
        'cooling_rates': rates, 'density_map': lambda: cube(folder),
        'glass_transition': cooled,
        'mobility_classes': lambda: body(ion_motion.analyse_mobility_classes)(walkers(folder), orm.Dict(
            {'species': 'Li', 'cutoffs': {'Cl': 3.2}, 'upper': 0.6, 'lower': 0.4, 'bin_width': 0.2}
        )),
        'pair_distributions': lambda: body(structure_series.analyse_pair_distributions)(shaken(folder), orm.Dict({})),
        'phase_fit': phases_in_a_measurement, 'plasticity': lambda: strain(folder),
        'scattering': lambda: body(scattering.analyse_scattering)(shaken(folder), orm.Dict({}), measured()),
        'screening': lambda: {'results': pairs_of_salts()}, 'stress_pulse': pulsed,
        'thermodynamics': lambda: {'results': reactions()},
    }  # fmt: skip
    return simple[name]()


def shaken(folder, n_frames=20):
    """The mixed salt with growing vibrations."""
    atoms = mixed_salt(3)
    rng = np.random.default_rng(10)
    sigma = np.linspace(0.05, 0.25, n_frames)[:, None, None]
    noise = rng.normal(size=(n_frames, len(atoms), 3)) * sigma
    return trajectory(folder, atoms.positions + noise, atoms.cell[:], atoms.numbers, name='shaken')


def phases_in_a_measurement():
    """Two waves of the right size for a glass and a salt, and a measurement that is not quite their sum."""
    r = np.arange(0.5, 12.0, 0.02)
    glass, salt = (
        3 * np.sin(2 * np.pi * r / length) * np.exp(-fading * r) for length, fading in ((2.1, 0.3), (2.6, 0.1))
    )
    node = orm.ArrayData({'r': r, 'G': 0.8 * glass + 0.2 * salt + 0.1 * np.cos(9 * r)})
    models = {name: orm.ArrayData({'r': r, 'G_x_ray': curve}) for name, curve in (('first', glass), ('second', salt))}
    parameters = {'formulas': {'first': 'Al3O2Cl5', 'second': 'LiCl'}, 'resolution': 24.0}
    return body(phase_fit.fit_measured_phases)(orm.Dict(parameters), node, **models)


def measured():
    """A made-up measurement: damped waves."""
    r = np.arange(1.0, 6.5, 0.02)
    return orm.ArrayData({'r': r, 'G': 1.5 * np.sin(2 * np.pi * r / 2.3 + 0.4) * np.exp(-0.1 * r)})
