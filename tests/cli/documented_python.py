"""The blocks of Python of the documentation, run with what their pages take as given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from documented_places import filled_in

#: Pages whose blocks are not run, with the reason.
NOT_HERE = {
    'docs/howto/resume.md': 'needs the restart files of a job: tests/workflows/test_md_endings.py goes on from some',
}
#: Pages whose blocks another test runs.
ELSEWHERE = {
    'docs/howto/add-an-observable.md': 'tests/analysis/test_documented_observable.py',
    'docs/tutorials/analyse-a-study.md': 'tests/report/test_tutorial_analyse.py',
}


def given(page: str, nodes: dict[str, Any], opened: ExitStack) -> dict[str, Any]:
    """Return the names that the blocks of a page use and do not make."""
    from aiida import orm, plugins

    from aiida_softclay.workflows.concurrent_learning import ConcurrentLearningWorkChain
    from aiida_softclay.workflows.md import MdWorkChain

    def load(name):
        return orm.load_node(nodes[name])

    codes = {name: orm.load_code(f'{name}@cluster') for name in ('vasp', 'dp', 'lmp')}
    salt = {'structure': load('structure'), 'potential': load('model_0')}
    temperatures = np.arange(100.0, 400.0, 20.0)
    names = {
        'docs/howto/concurrent-learning.md': {
            'ConcurrentLearningWorkChain': ConcurrentLearningWorkChain, 'codes': codes,
            'structures': {'melt': load('structure')},
        },
        'docs/howto/conductivity.md': {
            'trajectory': opened.enter_context(load('trajectory').open_trajectory()),
            'temperatures': np.array([400.0, 500.0, 600.0]), 'diffusivities': np.array([1e-6, 5e-6, 1.5e-5]),
            'errors': np.array([1e-7, 3e-7, 1e-6]),
        },
        'docs/howto/fit-potential.md': {'potential': load('potential')},
        'docs/howto/glass-transition.md': {
            'temperatures': temperatures, 'errors': np.full(temperatures.size, 1e-5),
            'specific_volumes': 0.4 + 2e-5 * temperatures + 8e-5 * np.maximum(temperatures - 240, 0),
        },
        'docs/howto/label.md': {
            'code': codes['vasp'], 'trajectory': load('trajectory'), 'other': load('trajectory'),
        },
        'docs/howto/loading.md': {'code': codes['lmp'], **salt},
        'docs/howto/model-deviation.md': {
            'MdWorkChain': MdWorkChain, 'code': codes['lmp'], 'structure': load('structure'),
            'models': [load(f'model_{number}') for number in range(4)],
            'plan': {'stages': [{'name': 'hot', 'kind': 'nvt', 'duration_ps': 1.0, 'temperature_K': 500.0}]},
        },
        'docs/howto/trajectories.md': {
            'CalculationFactory': plugins.CalculationFactory, 'load_code': orm.load_code,
            'md': SimpleNamespace(outputs=SimpleNamespace(
                stashed_trajectories=load('remote'), thermo=SimpleNamespace(run=load('thermo')),
                collective=SimpleNamespace(run=load('centres')),
            )),
        },
    }  # fmt: skip
    return names.get(page, {})


def run_block(page: str, text: str, nodes: dict[str, Any], names: dict[str, Any]) -> None:
    """Run a block with keys in the places of placeholders; what it builds has to be complete."""
    code = filled_in(page, text, nodes)
    with materials_project():
        exec(compile(code, f'{page}: {text[:60]!r}', 'exec', dont_inherit=True), names)  # noqa: S102 - what is tested
    if 'builder' in names:
        builder = names.pop('builder')
        error = builder.process_class.spec().inputs.validate(builder._inputs(prune=True))
        assert error is None, f'{page}: {error}\n{text}'


@contextmanager
def materials_project() -> Iterator[None]:
    """Put a stand-in into the place of the client of the Materials Project, which needs a key and the network."""
    from documented_profile import ENTRIES
    from pymatgen.core import Composition
    from pymatgen.entries.computed_entries import ComputedEntry

    class MPRester:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def get_entries_in_chemsys(self, system, additional_criteria):
            assert set(additional_criteria) == {'thermo_types'}
            elements = set(system.split('-'))
            return [
                ComputedEntry(row['formula'], row['energy_eV'], entry_id=row['formula'], parameters={'run_type': 'GGA'})
                for row in ENTRIES
                if {element.symbol for element in Composition(row['formula'])} <= elements
            ]

    package, client = ModuleType('mp_api'), ModuleType('mp_api.client')
    client.MPRester = MPRester
    before = {name: sys.modules.get(name) for name in ('mp_api', 'mp_api.client')}
    sys.modules.update({'mp_api': package, 'mp_api.client': client})
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
