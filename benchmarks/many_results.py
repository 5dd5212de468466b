"""How long the queries of the command line take in a profile with many finished studies.

Usage: ``python benchmarks/many_results.py [--studies 10000] [--storage sqlite postgresql] [--budget 1.0]``

A study here is a workchain with a results node of 24 numbers, made by a chain of nodes as a real one is: crystal and
potential (shared by a hundred studies each), trajectory, a run, a calcfunction. They are written with the bulk insert
of AiiDA's storage into a profile in a temporary folder, on SQLite and, where ``initdb`` is installed, on a PostgreSQL
server of its own. Each query is timed three times in this process, beside the processor time it took here, which a
busy machine does not change; the first query of a profile reads all numbers into the index once and is named apart.
Exit status 1 if a query takes longer than the budget.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from own_services import free_ports

SHARE = 100
MIXTURES = ('2LiCl-GaF3', '3LiCl-GaF3', 'MgCl2-GaF3', 'LiAlO0.75Cl2.5', 'Li3Al3O2Cl8')
CATIONS = ('Li', 'Li', 'Mg', 'Li', 'Li')
CHGNET = {'program': 'softclay-vasp', 'version': '0.1', 'model': 'CHGNet 0.3.0'}
CELL = {
    'cell': [[5, 0, 0], [0, 5, 0], [0, 0, 5]], 'pbc1': True, 'pbc2': True, 'pbc3': True,
    'kinds': [{'name': 'Li', 'symbols': ['Li'], 'weights': [1.0], 'mass': 6.94}],
    'sites': [{'kind_name': 'Li', 'position': [0, 0, 0]}],
}  # fmt: skip
FIRST = datetime(2025, 1, 1, tzinfo=UTC)


def numbers_of(study: int) -> list[dict]:
    """Return 24 numbers as a study reports them."""
    cation = CATIONS[study % len(MIXTURES)]
    rows = []
    names = [('density', 'g/cm^3'), ('glass_transition_temperature', 'K'), ('yield_stress.maximum', 'GPa'),
             ('shear_modulus', 'GPa'), ('residual_strain.cycle_3', '1'), ('energy_change.cycle_3', 'meV/atom'),
             ('conductivity.total', 'mS/cm'), ('haven_ratio', '1')]  # fmt: skip
    names += [(f'{kind}.{element}', unit) for element in (cation, 'Ga', 'F', 'Cl')
              for kind, unit in (('diffusivity', 'cm^2/s'), ('conductivity', 'mS/cm'), ('conductivity.self', 'mS/cm'),
                                 ('transference', '1'))]  # fmt: skip
    for position, (name, unit) in enumerate(names):
        rows.append({
            'name': name, 'value': 1.0 + 0.001 * study + position, 'error': 0.1, 'unit': unit,
            'definition': f'what {name} means, with the formula and where it comes from (a sentence of usual length)',
            'n_samples': 10, 'error_method': 'block averages (Flyvbjerg and Petersen 1989)', 'window': [1.0, 5.0],
            'window_unit': 'ps', 'frames_used': 600,
            'conditions': {'temperature_K': 300.0 + 0.01 * (study % 500), 'n_atoms': 320 + 4 * (study % 7),
                           'duration_ps': 6.0, 'component': 'yz'},
            'warnings': ['the blocks are still correlated'] if position % 3 == 0 else [],
        })  # fmt: skip
    return rows


def fill(n_studies: int) -> None:
    """Write the studies into the loaded profile."""
    from aiida import orm
    from aiida.manage import get_manager
    from aiida.orm.entities import EntityTypes

    from aiida_softclay.analysis.quantity import SCHEMA
    from aiida_softclay.data.potential import PotentialData
    from aiida_softclay.data.trajectory import MdTrajectoryData

    backend = get_manager().get_profile_storage()
    user = orm.User.collection(backend).get_default().pk
    nodes: list[dict] = []
    links: list[tuple[int, int, str, str]] = []
    pks: list[int] = []  # of what was written, in the order it was made

    def node(node_type: str, when: datetime, attributes: dict, process_type: str = '', label: str = '') -> int:
        nodes.append({
            'uuid': str(uuid.uuid4()), 'node_type': node_type, 'process_type': process_type, 'label': label,
            'description': '', 'ctime': when, 'mtime': when, 'attributes': attributes, 'extras': {},
            'repository_metadata': {}, 'user_id': user,
        })  # fmt: skip
        return len(pks) + len(nodes) - 1

    def link(start: int, end: int, kind: str, label: str) -> None:
        links.append((start, end, kind, label))

    def write() -> None:
        with backend.transaction():
            pks.extend(backend.bulk_insert(EntityTypes.NODE, nodes, allow_defaults=True))
            rows = [
                {'input_id': pks[start], 'output_id': pks[end], 'type': kind, 'label': label}
                for start, end, kind, label in links
            ]
            backend.bulk_insert(EntityTypes.LINK, rows, allow_defaults=True)
        nodes.clear()
        links.clear()

    dict_type, cell_type = orm.Dict.class_node_type, orm.StructureData.class_node_type
    done = {'process_state': 'finished', 'exit_status': 0, 'sealed': True}
    crystal = potential = 0
    for study in range(n_studies):
        when = FIRST + timedelta(minutes=study)
        mixture = MIXTURES[study % len(MIXTURES)]
        if study % SHARE == 0:
            crystal = node(cell_type, when, CELL)
            model = {'type_map': ['Li', 'Mg', 'Ga', 'F', 'Cl'], 'labels': CHGNET, 'md5': str(study), 'version': '3.2'}
            potential = node(PotentialData.class_node_type, when, model)
        parameters = node(dict_type, when, {'protocol': 'demo', 'temperature_K': 300.0, 'seed': study})
        chain = node('process.workflow.workchain.WorkChainNode.', when, {**done, 'process_label': 'StudyWorkChain'},
                     'aiida.workflows:softclay.study', mixture)  # fmt: skip
        run = node('process.calculation.calcjob.CalcJobNode.', when, {**done, 'process_label': 'LammpsMdCalculation'})
        trajectory = node(MdTrajectoryData.class_node_type, when, {'n_frames': 600, 'n_atoms': 320})
        maths = node('process.calculation.calcfunction.CalcFunctionNode.', when,
                     {**done, 'process_label': 'analyse_conductivity'})  # fmt: skip
        results = node(dict_type, when, {
            'schema': SCHEMA, 'numbers': numbers_of(study),
            'context': {'mixture': mixture, 'protocol': 'demo', 'engine': 'LAMMPS 22 Jul 2025, DeePMD model.pb'},
        })  # fmt: skip
        for data, label in ((parameters, 'parameters'), (potential, 'potential'), (crystal, 'structure')):
            link(data, chain, 'input_work', label)
        for data, label in ((potential, 'potential'), (crystal, 'structure')):
            link(data, run, 'input_calc', label)
        link(chain, run, 'call_calc', 'md')
        link(run, trajectory, 'create', 'trajectory')
        link(trajectory, maths, 'input_calc', 'trajectory')
        link(chain, maths, 'call_calc', 'analyse')
        link(maths, results, 'create', 'results')
        link(chain, results, 'return', 'results')
        if len(nodes) > 5000 or study == n_studies - 1:
            write()


def queries() -> dict:
    """Return what is timed, by what a user types."""
    from aiida import orm

    from aiida_softclay.data.potential import PotentialData
    from aiida_softclay.report.compare import compare_studies
    from aiida_softclay.report.descendants import descendants
    from aiida_softclay.report.provenance import trace
    from aiida_softclay.report.queries import results_table
    from aiida_softclay.report.scorecard_table import scorecard

    chains = orm.QueryBuilder().append(orm.WorkChainNode, project='*').order_by({orm.WorkChainNode: 'id'})
    first, second = chains.limit(2).all(flat=True)
    potential = orm.QueryBuilder().append(PotentialData).first()[0]
    crystal = orm.QueryBuilder().append(orm.StructureData).first()[0]
    day = FIRST + timedelta(days=1)
    return {
        'results (newest 500)': lambda: results_table(limit=500),
        'results PROCESS': lambda: results_table(process=first),
        'results --name "diffusivity.*" --composition MgCl2-GaF3': lambda: results_table(
            name='diffusivity.*', composition='Mg10Cl20Ga10F30', limit=500
        ),
        'results --temperature 300.5 300.6': lambda: results_table(temperature=(300.5, 300.6), limit=500),
        'results --engine lammps --name density': lambda: results_table(engine='lammps', name='density', limit=500),
        'results --potential PK': lambda: results_table(potential=potential, limit=500),
        'results --since --until (a day)': lambda: results_table(since=FIRST, until=day, limit=500),
        'trace PROCESS': lambda: trace(first),
        'trace POTENTIAL --forward': lambda: descendants(potential, newest=5),
        'trace CRYSTAL --forward': lambda: descendants(crystal, newest=5),
        'compare A B': lambda: compare_studies(first, second),
        'scorecard': scorecard,
    }


def measure(name: str, n_studies: int, budget: float) -> bool:
    """Fill the loaded profile, print the seconds of each query, and return whether all are within the budget."""
    from aiida_softclay.report.queries import results_table

    start = time.perf_counter()
    fill(n_studies)
    print(f'{name}: {n_studies} studies written in {time.perf_counter() - start:.1f} s', flush=True)
    start = time.perf_counter()
    results_table(limit=1)
    print(f'  {"first query, which makes the index":58s} {time.perf_counter() - start:7.2f} s', flush=True)
    within = True
    for query, run in queries().items():
        seconds, busy = [], []
        for _ in range(3):
            start, cpu = time.perf_counter(), time.process_time()
            run()
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - cpu)
        within &= min(seconds) <= budget
        spread = f'(slowest of three {max(seconds):.2f} s, processor {min(busy):.2f} s)'
        print(f'  {query:58s} {min(seconds):7.2f} s  {spread}', flush=True)
    return within


def start_postgresql(folder: Path) -> tuple[list[str], dict]:
    """Start a server of its own and return how to stop it and the configuration of its storage."""
    (port,) = free_ports(1)
    # The server refuses to run as root.
    prefix = ['runuser', '-u', 'postgres', '--'] if os.geteuid() == 0 else []
    if prefix:
        shutil.chown(folder, 'postgres', 'postgres')
    data = folder / 'data'

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, stdout=subprocess.DEVNULL, cwd=folder)

    options = f'-p {port} -k {folder} -c listen_addresses=127.0.0.1'
    run('initdb', '-D', str(data), '-U', 'aiida', '-A', 'trust')
    run('pg_ctl', '-D', str(data), '-w', '-l', str(folder / 'log'), '-o', options, 'start')
    run('createdb', '-h', '127.0.0.1', '-p', str(port), '-U', 'aiida', 'aiida')
    config = {
        'database_engine': 'postgresql_psycopg', 'database_hostname': '127.0.0.1', 'database_port': port,
        'database_name': 'aiida', 'database_username': 'aiida', 'database_password': '',
    }  # fmt: skip
    return [*prefix, 'pg_ctl', '-D', str(data), '-m', 'immediate', 'stop'], config


def main() -> int:
    """Measure on each storage that was asked for; return 1 if a query took longer than the budget, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--studies', type=int, default=10_000)
    parser.add_argument('--storage', nargs='+', choices=['sqlite', 'postgresql'], default=['sqlite', 'postgresql'])
    parser.add_argument('--budget', type=float, default=1.0, help='seconds that a query may take')
    arguments = parser.parse_args()
    within = True
    for storage in arguments.storage:
        if storage == 'postgresql' and shutil.which('initdb') is None:
            print('postgresql: initdb is not installed, left out')
            continue
        # A process loads one profile: each storage gets a process of its own.
        if len(arguments.storage) > 1:
            command = [sys.executable, __file__, '--studies', str(arguments.studies), '--storage', storage]
            within &= subprocess.run([*command, '--budget', str(arguments.budget)], check=False).returncode == 0
            continue
        within &= run_in_temporary_profile(storage, arguments.studies, arguments.budget)
    return 0 if within else 1


def run_in_temporary_profile(storage: str, n_studies: int, budget: float) -> bool:
    """Make a profile in a temporary folder, measure, and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix='many-results-'))
    folder.chmod(0o755)
    os.environ['AIIDA_PATH'] = str(folder)
    stop: list[str] = []
    from aiida.manage import get_manager
    from aiida.manage.configuration import create_profile, get_config, load_profile

    try:
        if storage == 'postgresql':
            server = folder / 'server'
            server.mkdir()
            stop, config = start_postgresql(server)
            backend = 'core.psql_dos'
            config['repository_uri'] = f'file://{folder / "repository"}'
        else:
            backend, config = 'core.sqlite_dos', {'filepath': str(folder / 'storage')}
        create_profile(
            get_config(create=True), name='many', email='many@results.invalid', storage_backend=backend,
            storage_config=config,
        )  # fmt: skip
        load_profile('many', allow_switch=True)
        return measure(storage, n_studies, budget)
    finally:
        # A connection that outlives its server ends this process with a traceback.
        get_manager().unload_profile()
        if stop:
            subprocess.run(stop, check=False, stdout=subprocess.DEVNULL, cwd='/')
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
