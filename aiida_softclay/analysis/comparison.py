"""A table of comparisons: the value of an engine, that of a potential, their difference, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .parity import Agreement, compare
from .quantity import Quantity

SIDES = ('engine', 'potential')
#: Verdicts from bad to good.
VERDICTS = ('failed', 'disagrees', 'unresolved', 'agrees')


class ComparisonTable:
    """Rows in the results schema, and the verdict of each proof.

    Parameters
    ----------
    agreement : dict
        What counts as agreement: the section of that name of a protocol.
    """

    def __init__(self, agreement: dict[str, Any]) -> None:
        self.agreement = agreement
        self.quantities: list[Quantity] = []
        self.verdicts: list[dict[str, Any]] = []

    def judge(self, proof: str, structure: str, name: str, verdict: str, **facts: Any) -> None:
        """Add a verdict; numbers that are not finite become ``None``."""
        plain = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in facts.items()
        }
        self.verdicts.append({'proof': proof, 'structure': structure, 'name': name, 'verdict': verdict, **plain})

    def failed(
        self,
        proof: str,
        structure: str,
        name: str,
        unit: str,
        definition: str,
        reason: str,
        known: dict[str, tuple[float, float]] | None = None,
    ) -> None:
        """Record a proof that cannot be judged, with the reason.

        Parameters
        ----------
        known : dict, optional
            Value and error of the side that has them.
        """
        for side, (value, error) in (known or {}).items():
            self.quantities.append(Quantity(f'{name}.{side}', value, error, unit, f'{definition} ({side})', 1))
        self.quantities.append(Quantity(f'{name}.difference', None, None, unit, definition, 0, warnings=[reason]))
        self.judge(proof, structure, name, 'failed', unit=unit, reason=reason)

    def pair(
        self,
        proof: str,
        structure: str,
        name: str,
        values: tuple[tuple[float, float], tuple[float, float]],
        unit: str,
        definition: str,
        *,
        relative: float | None = None,
        n_samples: int = 1,
        error_method: str = '',
        conditions: dict[str, Any] | None = None,
        warnings: tuple[Iterable[str], Iterable[str]] = ((), ()),
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Add a number from both sides, their difference, and the verdict if there is a tolerance to judge it by.

        Parameters
        ----------
        values : ((value, error), (value, error))
            Of the engine and of the potential.
        relative : float, optional
            Largest difference that does not matter, as a share of the engine's value; no verdict if not given.
        warnings : (iterable of str, iterable of str)
            Of the engine and of the potential.
        facts : dict, optional
            Further fields of the quantities.
        """
        (first, first_error), (second, second_error) = values
        tolerance = 0.0 if relative is None else relative * abs(first)
        found = compare(first, first_error, second, second_error, tolerance, float(self.agreement['n_sigma']))
        common: dict[str, Any] = {
            'unit': unit, 'n_samples': n_samples, 'error_method': error_method, **(facts or {}),
        }  # fmt: skip
        for side, (value, error), told in zip(SIDES, values, warnings, strict=True):
            self.quantities.append(
                Quantity(
                    f'{name}.{side}', value, error, definition=f'{definition} ({side})',
                    conditions=dict(conditions or {}), warnings=list(told), **common,
                )
            )  # fmt: skip
        verdict = {} if relative is None else {'verdict': found.verdict, 'allowed': found.allowed}
        notes = [f'{side}: {note}' for side, told in zip(SIDES, warnings, strict=True) for note in told]
        if relative is not None and found.verdict != 'agrees':
            notes.insert(0, f'{found.verdict}: a difference of up to {found.allowed:.3g} {unit} counts as agreement')
        self.quantities.append(
            Quantity(
                f'{name}.difference', found.difference, found.error,
                definition=f'potential less engine: {definition}; errors of both in quadrature',
                conditions={**(conditions or {}), **verdict, **_share(found, first)},
                warnings=notes, **common,
            )
        )  # fmt: skip
        if relative is not None:
            self.judge(
                proof, structure, name, found.verdict, engine=first, engine_error=first_error, potential=second,
                potential_error=second_error, difference=found.difference, error=found.error, allowed=found.allowed,
                unit=unit,
            )  # fmt: skip

    def proofs(self) -> dict[str, str]:
        """Return the verdict of each proof: the worst of its rows."""
        found: dict[str, str] = {}
        for row in self.verdicts:
            key = f'{row["proof"]} of {row["structure"]}'
            found[key] = min(found.get(key, 'agrees'), row['verdict'], key=VERDICTS.index)
        return found


def _share(found: Agreement, reference: float) -> dict[str, float]:
    return {'relative_difference': found.difference / abs(reference)} if reference else {}
