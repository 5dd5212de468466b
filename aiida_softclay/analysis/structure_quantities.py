"""Chains, polyhedra and bond lifetimes as numbers of the results schema."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from .bond_lifetime import BondLifetime
from .census import CensusOverTime
from .chains import LINK_CUTOFF, ChainStatistics
from .coordination import Estimate
from .quantity import Quantity


def _number(name: str, estimate: Estimate, definition: str, frames: int, unit: str = '1') -> Quantity:
    return Quantity(
        name=name, value=estimate.value, error=estimate.error, unit=unit, definition=definition,
        n_samples=estimate.n_samples, error_method=estimate.method, frames_used=frames,
    )  # fmt: skip


def _bond_text(cutoffs: Mapping[tuple[str, str], float]) -> str:
    return ', '.join(f'{a}–{b} below {cutoff:.2f} Å' for (a, b), cutoff in cutoffs.items())


def chain_quantities(chains: ChainStatistics, link_cutoff: float = LINK_CUTOFF) -> Iterator[Quantity]:
    """Yield the share of isolated atoms, the mean length, the share of each length and of each bridge.

    Parameters
    ----------
    chains : ChainStatistics
        From :func:`~aiida_softclay.analysis.chains.chain_statistics`.
    link_cutoff : float
        The cutoff of a link that it was computed with, Å.
    """
    central, frames = chains.central, len(chains.frames)
    bonds = _bond_text({pair: table.cutoff for pair, table in chains.coordination.items()})
    linked = f'linked: closer than {link_cutoff:g} Å and bonded to a common atom ({bonds}; qyang2025)'
    yield _number(
        f'chains.{central}.isolated', chains.isolated, f'share of {central} not linked to another; {linked}', frames
    )
    yield _number(
        f'chains.{central}.mean_length', chains.mean_length,
        f'number of {central} over number of chains, isolated ones included; {linked}', frames,
    )  # fmt: skip
    for length, share in chains.shares.items():
        yield _number(
            f'chains.{central}.share.{length}', share, f'share of {central} in chains of {length}; {linked}', frames
        )
    for bridge, share in chains.bridges.items():
        yield _number(
            f'chains.{central}.bridge.{bridge}', share, f'share of the links bridged by {bridge}; {linked}', frames,
        )  # fmt: skip


def census_quantities(census: CensusOverTime, cutoffs: Mapping[tuple[str, str], float]) -> Iterator[Quantity]:
    """Yield the share of each kind of polyhedron, the most frequent first.

    Parameters
    ----------
    census : CensusOverTime
        From :func:`~aiida_softclay.analysis.census.census_over_time`.
    cutoffs : mapping of (str, str) to float
        The cutoffs of the bonds, Å.
    """
    text = _bond_text({pair: cutoff for pair, cutoff in cutoffs.items() if pair[0] == census.central})
    for name, share in census.shares.items():
        yield _number(
            f'polyhedra.{name}', share, f'share of {census.central} with exactly these neighbours; {text}',
            len(census.shares_per_frame),
        )  # fmt: skip


def lifetime_quantity(bond: BondLifetime) -> Quantity:
    """Return the lifetime of a bond; without a value where none broke, with the lower bound among the warnings."""
    first, second = bond.pair
    broke = math.isfinite(bond.lifetime.value)
    warnings = (
        [] if broke else [f'no bond broke: the lifetime is above {bond.lower_bound_ps:.3g} ps with 95 % confidence']
    )
    return Quantity(
        name=f'bond_lifetime.{first}-{second}', value=bond.lifetime.value if broke else None,
        error=bond.lifetime.error if broke else None, unit='ps',
        definition=f'mean time until a {first}–{second} bond breaks, of an exponential decay: -dt / ln(share that '
        'survives the interval dt)',
        n_samples=bond.lifetime.n_samples, error_method=bond.lifetime.method, warnings=warnings,
    )  # fmt: skip
