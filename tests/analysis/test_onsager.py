"""Collective transport against processes for which every coefficient is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants

from aiida_softclay.analysis.collective import (
    LABORATORY,
    collective_displacement,
    collective_from_centres,
    reference_path,
)
from aiida_softclay.analysis.displacement import mean_squared_displacement
from aiida_softclay.analysis.onsager import conductivity_per_slope, ionic_conductivity
from aiida_softclay.analysis.slope_errors import larger_error, line_weights, slope_variance_factor, stretches_of
from aiida_softclay.analysis.time_origins import displacement_products
from aiida_softclay.analysis.trajectory import ArrayTrajectory
from aiida_softclay.analysis.unwrap import unwrap

CELL = np.eye(3) * 20.0
CONDITIONS = {'volume': 8000.0, 'temperature': 300.0}
CLAY = {'Mg': 2, 'Ga': 3, 'F': -1, 'Cl': -1}


def walk(rng, n_frames, n_atoms, scale=0.3):
    return np.cumsum(rng.normal(scale=scale, size=(n_frames, n_atoms, 3)), axis=0)


def analysed(trajectory, charges, window_ps=None, reference='centre of mass', **options):
    collective = collective_displacement(trajectory, reference=reference)
    own = mean_squared_displacement(trajectory, reference=reference_path(trajectory, reference))
    return ionic_conductivity(collective, own, charges, window_ps=window_ps, **{**CONDITIONS, **options})


def clay(rng, n_frames=120):
    """Magnesium, gallium, fluorine and chlorine in the ratio of MgCl2-GaF3, each with its own mobility."""
    numbers = np.repeat([12, 31, 9, 17], [4, 4, 12, 8])
    mobility = np.repeat([0.3, 0.05, 0.1, 0.4], [4, 4, 12, 8])
    return ArrayTrajectory(walk(rng, n_frames, 28, 1.0) * mobility[:, None], CELL, numbers, timestep_ps=0.1)


def test_products_of_displacements_equal_the_double_loop():
    rng = np.random.default_rng(0)
    paths = walk(rng, 30, 3) + 50.0
    found = displacement_products(paths, 12)
    for lag in range(12):
        moved = paths[lag:] - paths[: 30 - lag]
        expected = np.einsum('tac,tbc->ab', moved, moved) / (30 - lag)
        assert found[lag] == pytest.approx(expected, abs=1e-10)


def test_error_of_a_slope_is_that_of_many_walks():
    """The factor predicts variance and covariance of slopes of Brownian paths with correlated steps."""
    rng = np.random.default_rng(1)
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    steps = rng.normal(size=(1500, 199, 3, 2)) @ np.linalg.cholesky(covariance).T
    lags = np.arange(4, 31)
    weights = line_weights(lags.astype(float))
    slopes = np.array([
        np.tensordot(weights, displacement_products(np.cumsum(path.swapaxes(1, 2), axis=0), 31)[lags], axes=1)
        for path in steps
    ])  # fmt: skip
    kappa = slope_variance_factor(199, 4, 30)
    truth = 3 * covariance
    assert slopes.mean(axis=0) == pytest.approx(truth, rel=0.06)
    assert slopes[:, 0, 0].var() == pytest.approx(kappa * 2 * truth[0, 0] ** 2, rel=0.12)
    assert slopes[:, 0, 1].var() == pytest.approx(kappa * (truth[0, 0] * truth[1, 1] + truth[0, 1] ** 2), rel=0.12)
    together = np.cov(slopes[:, 0, 0], slopes[:, 1, 1])[0, 1]
    assert together == pytest.approx(kappa * 2 * truth[0, 1] ** 2, rel=0.35)


def test_error_factor_depends_on_shares_of_the_run_only():
    assert slope_variance_factor(2000, 40, 200) == pytest.approx(slope_variance_factor(25000, 500, 2500), rel=0.03)
    assert slope_variance_factor(2000, 40, 200) < slope_variance_factor(2000, 200, 600)
    with pytest.raises(ValueError, match='not a window'):
        slope_variance_factor(100, 20, 100)


def test_stretches_replace_the_error_only_where_they_differ_clearly():
    assert stretches_of(1000, 400) == []
    assert [part.start for part in stretches_of(1000, 50)] == [0, 200, 400, 600, 800]
    values = np.array([[1.0, 1.0], [2.0, 9.0], [3.0, 20.0]])
    assert larger_error(np.array([0.5, 0.5]), values) == pytest.approx([0.5, values[:, 1].std(ddof=1) / 3**0.5])


def test_ions_locked_in_pairs_carry_no_current():
    """One path for cation and anion: equal self parts, and the pair term is the whole of each species."""
    rng = np.random.default_rng(2)
    pairs = walk(rng, 300, 25)
    locked = ArrayTrajectory(np.concatenate([pairs, pairs + 2.0], axis=1), CELL, np.repeat([3, 17], 25))
    found = analysed(locked, {'Li': 1, 'Cl': -1}, (5.0, 30.0), reference=LABORATORY)
    whole = found.own['Li'].value + found.distinct['Li'].value
    assert found.own['Cl'].value == pytest.approx(found.own['Li'].value, rel=1e-5)
    assert found.between['Li', 'Cl'].value == pytest.approx(whole, rel=1e-9)
    assert found.total.value == pytest.approx(0, abs=1e-9 * whole)
    assert np.isnan(found.haven_ratio.value) or abs(found.haven_ratio.value) > 1e6
    assert any('not distinguished from zero' in text for text in found.warnings)


def test_ions_that_mirror_each_other_carry_twice_the_sum():
    """Opposite paths: the pair term is minus the whole of a species, and the total four times that."""
    rng = np.random.default_rng(3)
    paths = walk(rng, 300, 25)
    mirrored = ArrayTrajectory(np.concatenate([paths, -paths], axis=1), CELL, np.repeat([3, 17], 25))
    found = analysed(mirrored, {'Li': 1, 'Cl': -1}, (5.0, 30.0), reference=LABORATORY)
    whole = found.own['Li'].value + found.distinct['Li'].value
    assert found.between['Li', 'Cl'].value == pytest.approx(-whole, rel=1e-9)
    assert found.total.value == pytest.approx(4 * whole, rel=1e-9)
    assert found.transference['Li'].value == pytest.approx(0.5)
    # Numerator and denominator are the same noise: the share is exact.
    assert found.transference['Li'].error == pytest.approx(0, abs=1e-6)


def test_ions_that_move_as_one_body():
    """N ions on one path: the distinct part is N − 1 times the self part, and the Haven ratio is 1 / N."""
    rng = np.random.default_rng(4)
    body = np.repeat(walk(rng, 300, 1), 8, axis=1)
    still = np.zeros((300, 8, 3))
    found = analysed(
        ArrayTrajectory(np.concatenate([body, still], axis=1), CELL, np.repeat([3, 79], 8)),
        {'Li': 1, 'Au': -1}, (5.0, 30.0), reference='Au',
    )  # fmt: skip
    assert found.distinct['Li'].value == pytest.approx(7 * found.own['Li'].value, rel=1e-5)
    assert found.haven_ratio.value == pytest.approx(1 / 8, rel=1e-5)
    assert found.transference['Li'].value == pytest.approx(1)
    assert found.transference['Au'].value == pytest.approx(0, abs=1e-12)


def test_correlated_species_give_their_matrix_with_honest_errors():
    """Pairs of ions with correlated steps: the mean is the known matrix, two thirds lie within one error."""
    rng = np.random.default_rng(5)
    n_pairs, correlation, scales = 10, 0.7, np.array([0.3, 0.2])
    mixing = np.linalg.cholesky([[1, correlation], [correlation, 1]])
    numbers = np.repeat([3, 17], n_pairs)
    factor = conductivity_per_slope(**CONDITIONS) * n_pairs * 3
    expected = {
        'own': scales[0] ** 2 * factor, 'distinct': 0.0, 'between': correlation * scales.prod() * factor,
        'total': (scales @ scales - 2 * correlation * scales.prod()) * factor,
    }  # fmt: skip
    li_share = (scales[0] ** 2 - correlation * scales.prod()) / (scales @ scales - 2 * correlation * scales.prod())
    values, pulls = [], []
    for _ in range(120):
        steps = np.einsum('ab,bfnc->afnc', mixing, rng.normal(size=(2, 250, n_pairs, 3))) * scales[:, None, None, None]
        paths = np.cumsum(np.concatenate(list(steps), axis=1), axis=0)
        found = analysed(ArrayTrajectory(paths, CELL, numbers), {'Li': 1, 'Cl': -1}, (5.0, 25.0), reference=LABORATORY)
        estimates = [found.own['Li'], found.distinct['Li'], found.between['Li', 'Cl'], found.total]
        values.append([estimate.value for estimate in estimates])
        truths = [*expected.values(), li_share]
        pulls.append([
            (estimate.value - truth) / estimate.error
            for estimate, truth in zip([*estimates, found.transference['Li']], truths, strict=True)
        ])  # fmt: skip
    spread = np.std(values, axis=0) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, axis=0) - list(expected.values())) < 4 * spread).all()
    within = (np.abs(pulls) < 1).mean(axis=0)
    assert (within > 0.52).all()
    assert (within < 0.86).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), charges=st.tuples(*[st.sampled_from([-2, -1, -0.5, 1, 2, 3])] * 4))
def test_the_parts_sum_to_the_total(seed, charges):
    """The sum rule holds identically, whatever the charges."""
    found = analysed(clay(np.random.default_rng(seed), 60), dict(zip(CLAY, charges, strict=True)))
    z = found.charges
    total = sum(found.own[name].value + found.distinct[name].value for name in found.species)
    total += sum(2 * np.sign(z[a] * z[b]) * part.value for (a, b), part in found.between.items())
    scale = max(part.value for part in found.own.values())
    assert total == pytest.approx(found.total.value, abs=1e-9 * scale)
    if found.total.value > 0:
        assert sum(share.value for share in found.transference.values()) == pytest.approx(1)


def test_total_of_neutral_ions_is_the_same_in_every_frame_of_reference():
    trajectory = clay(np.random.default_rng(6))
    # One window for all: where ions start to diffuse depends on what their displacements are relative to.
    names = ('centre of mass', LABORATORY, 'Ga')
    frames = {name: analysed(trajectory, CLAY, window_ps=(0.5, 1.5), reference=name) for name in names}
    expected = frames[LABORATORY].total.value
    for name, found in frames.items():
        assert found.total.value == pytest.approx(expected, rel=1e-9)
        assert found.reference == name
    assert frames['Ga'].transference['Ga'].value == pytest.approx(0, abs=1e-9)
    assert frames['Ga'].transference['Mg'].value != pytest.approx(frames[LABORATORY].transference['Mg'].value)
    assert frames['Ga'].warnings == tuple(w for w in frames['Ga'].warnings if 'charges' not in w)


def test_changing_the_frame_afterwards_is_the_same():
    trajectory = clay(np.random.default_rng(7))
    changed = collective_displacement(trajectory).relative_to('Ga')
    direct = collective_displacement(trajectory, reference='Ga')
    assert changed.reference == 'Ga'
    moved = [np.diff(one.sums, axis=0) for one in (changed, direct)]
    assert moved[0] == pytest.approx(moved[1], abs=1e-9)
    with pytest.raises(ValueError, match='not among'):
        changed.relative_to('Li')


def test_centres_written_on_the_fly_give_what_the_atoms_give():
    trajectory = clay(np.random.default_rng(8))
    numbers = np.asarray(trajectory.atomic_numbers)
    members = {name: numbers == number for name, number in zip(CLAY, (12, 31, 9, 17), strict=True)}
    centres = {name: trajectory.positions[:, chosen].mean(axis=1) for name, chosen in members.items()}
    counts = {name: int(chosen.sum()) for name, chosen in members.items()}
    own = mean_squared_displacement(trajectory)
    times = np.arange(120) * 0.1
    found = ionic_conductivity(collective_from_centres(times, centres, counts), own, CLAY, **CONDITIONS)
    expected = analysed(trajectory, CLAY)
    assert found.slopes == pytest.approx(expected.slopes, abs=1e-8)
    assert found.total.value == pytest.approx(expected.total.value, rel=1e-8)
    for reference in ('Ga', LABORATORY):
        columns = collective_from_centres(times, centres, counts, reference)
        atoms = collective_displacement(trajectory, reference=reference)
        assert np.diff(columns.sums, axis=0) == pytest.approx(np.diff(atoms.sums, axis=0), abs=1e-8)


def test_order_of_atoms_wrapping_and_origin_do_not_matter():
    rng = np.random.default_rng(9)
    trajectory = clay(rng)
    expected = analysed(trajectory, CLAY)
    order = rng.permutation(28)
    shuffled = ArrayTrajectory(trajectory.positions[:, order], CELL, trajectory.atomic_numbers[order], timestep_ps=0.1)
    wrapped = [(positions % 20.0, CELL) for positions in trajectory.positions]
    unwrapped = ArrayTrajectory(np.array(list(unwrap(wrapped))), CELL, trajectory.atomic_numbers, timestep_ps=0.1)
    moved = ArrayTrajectory(
        trajectory.positions + 1e3, CELL, trajectory.atomic_numbers, steps=np.arange(5000, 5120), timestep_ps=0.1
    )
    for other in (shuffled, unwrapped, moved):
        found = analysed(other, CLAY)
        assert found.total.value == pytest.approx(expected.total.value, rel=1e-6)
        assert found.total.error == pytest.approx(expected.total.error, rel=1e-6)
        for name in CLAY:
            assert found.own[name].value == pytest.approx(expected.own[name].value, rel=1e-5)
            assert found.own[name].error == pytest.approx(expected.own[name].error, rel=1e-4)


def test_units_by_hand():
    """One ion of charge 1 in 1 nm³ at 300 K whose MSD grows by 6e-9 m²/s · τ: 61.977 mS/cm."""
    found = conductivity_per_slope(1000.0, 300.0) * 6 * 1e-5 * 1e4
    assert found == pytest.approx(constants.e**2 / (1e-27 * constants.k * 300) * 1e-9 * 10)
    with pytest.raises(ValueError, match='must be positive'):
        conductivity_per_slope(-1.0, 300.0)


def test_ions_in_cages_are_said_not_to_diffuse():
    rng = np.random.default_rng(10)
    rattling = ArrayTrajectory(rng.normal(scale=0.1, size=(300, 40, 3)), CELL, np.repeat([3, 17], 20), timestep_ps=0.1)
    found = analysed(rattling, {'Li': 1, 'Cl': -1})
    assert abs(found.total.value) < 2 * found.total.error
    assert found.total.error > 0
    assert any('not distinguished from zero' in text for text in found.warnings)
    assert any('caged' in text for text in found.warnings)


def test_what_does_not_fit_gets_a_sentence():
    trajectory = clay(np.random.default_rng(11))
    own = mean_squared_displacement(trajectory)
    collective = collective_displacement(trajectory)
    with pytest.raises(ValueError, match='no charge was given for Cl'):
        ionic_conductivity(collective, own, {'Mg': 2, 'Ga': 3, 'F': -1}, **CONDITIONS)
    with pytest.raises(ValueError, match='no mean squared displacement was given for Mg'):
        ionic_conductivity(collective, {}, CLAY, **CONDITIONS)
    with pytest.raises(ValueError, match='three are needed'):
        ionic_conductivity(collective, own, CLAY, window_ps=(0.1, 0.2), **CONDITIONS)
    with pytest.raises(ValueError, match='one window'):
        ionic_conductivity(
            collective, mean_squared_displacement(trajectory, max_lag_ps=0.5), CLAY, window_ps=(0.1, 2.0), **CONDITIONS
        )
    with pytest.raises(ValueError, match='of 4 atoms'):
        ionic_conductivity(collective, own | {'Cl': own['Mg']}, CLAY, **CONDITIONS)
    with pytest.raises(ValueError, match='no Li among'):
        collective_displacement(trajectory, ['Li'])
    with pytest.raises(ValueError, match='holds no atoms'):
        collective_displacement(trajectory, classes={'fast': []})
    some = collective_displacement(trajectory, ['Mg', 'Cl'])
    unbalanced = ionic_conductivity(some, own, {'Mg': 1, 'Cl': -1}, **CONDITIONS)
    assert any('sum to -4' in text for text in unbalanced.warnings)
    broken = trajectory.positions.copy()
    broken[40, 3, 1] = np.nan
    exploded = ArrayTrajectory(broken, CELL, trajectory.atomic_numbers, timestep_ps=0.1)
    with pytest.raises(ValueError, match='not finite'):
        collective_displacement(exploded)
    with pytest.raises(ValueError, match='not finite'):
        mean_squared_displacement(exploded)
    times = np.arange(10.0)
    path = {'Li': np.zeros((10, 3))}
    with pytest.raises(ValueError, match='not equally spaced'):
        collective_from_centres(np.r_[0:9, 20.0], path, {'Li': 2})
    with pytest.raises(ValueError, match='numbers of atoms'):
        collective_from_centres(times, path, {'Cl': 2})
    with pytest.raises(ValueError, match='must have the shape'):
        collective_from_centres(times, {'Li': np.zeros((9, 3))}, {'Li': 2})
    with pytest.raises(ValueError, match='all of them finite'):
        collective_from_centres(times, {'Li': np.full((10, 3), np.nan)}, {'Li': 2})
    with pytest.raises(ValueError, match='not among'):
        collective_from_centres(times, path, {'Li': 2}, 'Ga')
