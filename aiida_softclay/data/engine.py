"""The engine that computed something, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def engine_text(engine: Mapping[str, Any] | str | None) -> str:
    """Return an engine record as one line.

    Parameters
    ----------
    engine : mapping, str or None
        ``program``, ``version``, ``model`` or ``functional``, ``dispersion``, ``potential``, as in the attributes of
        frames and trajectories and in the context of results; text is returned as it is.

    >>> engine_text({'program': 'softclay-vasp', 'version': '0.1', 'model': 'CHGNet 0.3.0', 'dispersion': 'D2'})
    'CHGNet 0.3.0 + D2 (softclay-vasp 0.1)'
    >>> engine_text({'program': 'LAMMPS', 'version': '22 Jul 2025', 'potential': 'DeePMD model.pb'})
    'LAMMPS 22 Jul 2025, DeePMD model.pb'
    """
    if engine is None or isinstance(engine, str):
        return engine or ''
    # A model says more than the program that evaluates it; a functional is named where there is no model.
    what = engine.get('model') or engine.get('functional')
    if what and engine.get('dispersion'):
        what = f'{what} + {engine["dispersion"]}'
    program = ' '.join(str(engine[key]) for key in ('program', 'version') if engine.get(key))
    text = f'{what} ({program})' if what and program else str(what or program)
    return ', '.join(part for part in (text, engine.get('potential')) if part)
