"""Densities of glasses that the papers state, each with its source and the compositions it is given for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml
from ase.formula import Formula

DATA_FILE = Path(__file__).parent / 'glass_densities.yaml'
SCHEMA = 'soft-clay-glass-densities/1'
KINDS = ('measured', 'computed')
#: Largest deviation of an atomic fraction that still counts as the same composition.
COMPOSITION_TOLERANCE = 1e-3


class DensityDataError(ValueError):
    """The file of densities contradicts itself."""


@dataclass(frozen=True)
class GlassDensity:
    """A density from the literature.

    Attributes
    ----------
    id : str
        Name of the glass.
    value, uncertainty : float
        g/cm³.
    uncertainty_source : str
        Where the uncertainty is from.
    kind : str
        ``measured`` or ``computed``.
    compositions : tuple of str
        Formulas the source gives it for.
    between : bool
        Whether compositions between the first and the last are of the same family.
    source : str
        Paper and place.
    """

    id: str
    value: float
    uncertainty: float
    uncertainty_source: str
    kind: str
    compositions: tuple[str, ...]
    between: bool
    source: str

    def names(self, counts: Mapping[str, float]) -> bool:
        """Return whether the source gives the density for exactly this composition."""
        return any(_distance(counts, formula) < COMPOSITION_TOLERANCE for formula in self.compositions)

    def covers(self, counts: Mapping[str, float]) -> bool:
        """Return whether the composition is one of the source's or lies between them."""
        if self.names(counts):
            return True
        if not self.between:
            return False
        elements = sorted({*counts, *(element for text in self.compositions for element in Formula(text).count())})
        first, last = (_fractions(Formula(self.compositions[i]).count(), elements) for i in (0, -1))
        line, offset = last - first, _fractions(counts, elements) - first
        place = float(offset @ line / (line @ line))
        return bool(0 <= place <= 1 and np.abs(offset - place * line).max() < COMPOSITION_TOLERANCE)


def _fractions(counts: Mapping[str, float], elements: list[str]) -> np.ndarray:
    values = np.array([float(counts.get(element, 0)) for element in elements])
    return values / values.sum()


def _distance(counts: Mapping[str, float], formula: str) -> float:
    other = Formula(formula).count()
    elements = sorted({*counts, *other})
    return float(np.abs(_fractions(counts, elements) - _fractions(other, elements)).max())


@lru_cache(maxsize=4)
def load_glass_densities(path: Path = DATA_FILE) -> tuple[GlassDensity, ...]:
    """Return the densities of the data file.

    Raises
    ------
    DensityDataError
        If the file is of another schema, or an entry has no source or makes no sense.
    """
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    if content.get('schema') != SCHEMA:
        raise DensityDataError(f'{path.name} has the schema {content.get("schema")!r}, not {SCHEMA!r}')
    found = []
    for entry in content['densities']:
        made = GlassDensity(
            id=str(entry['id']), value=float(entry['value']), uncertainty=float(entry['uncertainty']),
            uncertainty_source=str(entry['uncertainty_source']), kind=str(entry['kind']),
            compositions=tuple(entry['compositions']), between=bool(entry['between']), source=str(entry['source']),
        )  # fmt: skip
        if made.kind not in KINDS or not made.compositions or not made.source:
            raise DensityDataError(f'{made.id} needs a source, compositions and a kind of {" or ".join(KINDS)}')
        if not (0 < made.value < 30 and 0 < made.uncertainty < made.value):
            raise DensityDataError(f'{made.id}: {made.value} ± {made.uncertainty} g/cm^3 is no density')
        found.append(made)
    return tuple(found)


def glass_density(counts: Mapping[str, float], kind: str = 'measured') -> GlassDensity | None:
    """Return the density of a glass of this composition, or ``None`` if none is known.

    Parameters
    ----------
    counts : mapping of str to float
        Atoms of each element.
    kind : str
        ``measured`` or ``computed``.
    """
    known = [entry for entry in load_glass_densities() if entry.kind == kind]
    exact = [entry for entry in known if entry.names(counts)]
    return next(iter([*exact, *(entry for entry in known if entry.covers(counts))]), None)
