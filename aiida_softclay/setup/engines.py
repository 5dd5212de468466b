"""Check that each code really runs: ``lmp`` knows ``pair_style deepmd``, ``dp`` computes, VASP completes one step.

The checks go through the computer's own transport, with the prepend texts of computer and code, so that they see what
a job would see. All codes of one computer are checked at once, each in a folder of its own below the work folder.
"""

from __future__ import annotations

import io
import re
import shlex
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiida.orm import Computer, InstalledCode

CHECK_SECONDS = 300
_FINISHED = 'timing and accounting informations'
_TENSORFLOW_NOISE = re.compile(r'libcudart|implib-gen|DeePMD-kit: (Cannot|Error)|^\s*$')


@dataclass(frozen=True)
class EngineCheck:
    """What came of the check of one code: whether it runs, and what to know or to do."""

    code: str
    ok: bool
    message: str
    remedy: str = ''


def engine_of(code: InstalledCode) -> str:
    """Return which engine a code is (``lmp``, ``dp`` or ``vasp``), by its plugin.

    Raises
    ------
    ValueError
        If the plugin is none of this package.
    """
    plugin = code.default_calc_job_plugin or ''
    engines = {'softclay.lammps': 'lmp', 'softclay.vasp_md': 'vasp', 'vasp.vasp': 'vasp'}
    if plugin.startswith('softclay.dp.'):
        return 'dp'
    if plugin not in engines:
        raise ValueError(f'code `{code.full_label}` is for `{plugin}`, which is no engine of this package')
    return engines[plugin]


def check_codes(codes: Iterable[InstalledCode], family: str) -> list[EngineCheck]:
    """Run each code once, on a task of seconds.

    Parameters
    ----------
    codes : iterable of InstalledCode
        The codes; those on one computer run side by side.
    family : str
        POTCAR family for the static step of VASP.

    Returns
    -------
    list of EngineCheck
        In the order of ``codes``.
    """
    codes = list(codes)
    results: dict[str, EngineCheck] = {}
    computers = {code.computer.uuid: code.computer for code in codes}
    for key, computer in computers.items():
        mine = [code for code in codes if code.computer.uuid == key]
        results.update(_check_on(computer, mine, family))
    return [results[code.full_label] for code in codes]


def _check_on(computer: Computer, codes: list[InstalledCode], family: str) -> dict[str, EngineCheck]:
    from aiida.common.exceptions import AiidaException

    results: dict[str, EngineCheck] = {}
    tasks: dict[str, InstalledCode] = {}
    try:
        with computer.get_transport() as transport:
            work = computer.get_workdir().format(username=transport.whoami())
            folder = f'{work}/check-{uuid.uuid4().hex[:8]}'
            transport.makedirs(folder, ignore_existing=True)
            try:
                for code in codes:
                    problem = _prepare(transport, f'{folder}/{engine_of(code)}', code, family)
                    if problem:
                        results[code.full_label] = problem
                    else:
                        tasks[engine_of(code)] = code
                waiting = ''.join(f'( cd {name} && bash run.sh ) &\n' for name in tasks)
                transport.exec_command_wait(f'{waiting}wait', workdir=folder)
                for name, code in tasks.items():
                    results[code.full_label] = _judge(name, code, _read(transport, f'{folder}/{name}'))
            finally:
                transport.rmtree(folder)
    except (AiidaException, OSError) as exception:
        for code in codes:
            results[code.full_label] = EngineCheck(
                code.full_label,
                ok=False,
                message=f'computer `{computer.label}` cannot be used: {exception}',
                remedy=f'verdi computer test {computer.label}',
            )
    return results


def _prepare(transport: Any, folder: str, code: InstalledCode, family: str) -> EngineCheck | None:
    """Put the files of a check into ``folder``; return the result already if they cannot be made."""
    name = engine_of(code)
    batch = code.computer.scheduler_type != 'core.direct'
    try:
        files = {'lmp': _lmp_files, 'dp': _dp_files, 'vasp': lambda: _vasp_files(family)}[name]()
    except ValueError as exception:
        return EngineCheck(code.full_label, ok=False, message=str(exception), remedy='./setup_profile.sh')
    program = shlex.quote(str(code.filepath_executable))
    # Real VASP is not run on the login node of a cluster: that it is there and executable is all that can be said.
    present_only = batch and name == 'vasp' and not str(code.filepath_executable).endswith('softclay-vasp')
    arguments = {'lmp': '-in in.check -log none', 'dp': '--tf neighbor-stat -s system -r 3.0 -t Li F', 'vasp': ''}[name]
    command = f'test -x {program} && echo present' if present_only else f'timeout {CHECK_SECONDS} {program} {arguments}'
    run = '\n'.join(
        [
            'export SOFTCLAY_JOB_GATE=off',
            code.computer.get_prepend_text(),
            code.prepend_text,
            f'{command} > stdout 2> stderr < /dev/null',
            'echo $? > status',
            '',
        ]
    )
    with tempfile.TemporaryDirectory() as temporary:
        for path, content in {**files, 'run.sh': run.encode()}.items():
            target = Path(temporary) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        transport.puttree(temporary, folder)
    return None


def _lmp_files() -> dict[str, bytes]:
    return {'in.check': b'info styles pair\n'}


def _dp_files() -> dict[str, bytes]:
    """Return a system of two atoms: small, but it takes TensorFlow to count its neighbours."""
    import numpy as np

    def array(values: list[float]) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, np.array([values]))
        return buffer.getvalue()

    return {
        'system/type.raw': b'0\n1\n',
        'system/type_map.raw': b'Li\nF\n',
        'system/set.000/box.npy': array([4.0, 0, 0, 0, 4.0, 0, 0, 0, 4.0]),
        'system/set.000/coord.npy': array([0, 0, 0, 2.0, 2.0, 2.0]),
    }


def _vasp_files(family: str) -> dict[str, bytes]:
    """Return the input of one static step: LiF where the family has both, else its first element in a wide cell.

    Raises
    ------
    ValueError
        If the family does not exist.
    """
    from aiida_softclay.calculations.potcars import family_elements

    elements = family_elements(family)
    chosen = ['Li', 'F'] if {'Li', 'F'} <= set(elements) else [next(iter(elements))]
    potcars = [_potcar(family, elements[element][0]) for element in chosen]
    positions = ['0 0 0', '0.5 0.5 0.5'][: len(chosen)]
    poscar = [
        'one static step',
        '1.0',
        '2.5 0 0\n0 2.5 0\n0 0 2.5' if len(chosen) == 2 else '6 0 0\n0 6 0\n0 0 6',
        ' '.join(chosen),
        ' '.join('1' for _ in chosen),
        'Direct',
        *positions,
        '',
    ]
    incar = 'ENCUT = 400\nPREC = Normal\nEDIFF = 1E-4\nISMEAR = 0\nSIGMA = 0.1\nNSW = 0\nIBRION = -1\nISYM = 0\n'
    return {
        'INCAR': incar.encode(),
        'POSCAR': '\n'.join(poscar).encode(),
        'KPOINTS': b'Gamma\n0\nGamma\n1 1 1\n0 0 0\n',
        'POTCAR': b''.join(potcars),
    }


def _potcar(family: str, full_name: str) -> bytes:
    from aiida_vasp.data.potcar import PotcarData

    group = PotcarData.get_potcar_group(family)
    node = next(node for node in group.nodes if node.full_name == full_name)
    return node.get_content()


def _read(transport: Any, folder: str) -> dict[str, str]:
    """Return the texts that a check left behind; a missing file is an empty one."""
    status, listing, _ = transport.exec_command_wait(
        'for file in status stdout stderr OUTCAR; do '
        'echo "=== $file"; if [ -f "$file" ]; then tail -c 60000 "$file"; echo; fi; done',
        workdir=folder,
    )
    texts = dict.fromkeys(('status', 'stdout', 'stderr', 'OUTCAR'), '')
    if status == 0:
        for part in re.split(r'^=== ', listing, flags=re.MULTILINE)[1:]:
            name, _, text = part.partition('\n')
            texts[name] = text
    return texts


def _judge(name: str, code: InstalledCode, texts: dict[str, str]) -> EngineCheck:
    label = code.full_label
    program = str(code.filepath_executable)
    status = texts['status'].strip()
    said = _last_words(texts)
    if status == '124':
        return EngineCheck(label, False, f'{program} did not end within {CHECK_SECONDS} s', 'try it by hand')
    if status in {'126', '127'}:
        return EngineCheck(
            label, False, f'{program} cannot be executed: {said}', f'./setup_profile.sh --{name} PROGRAM'
        )
    if name == 'lmp':
        version = re.search(r'LAMMPS \(([^)]*)\)', texts['stdout'])
        if version is None:
            return EngineCheck(label, False, f'{program} is not LAMMPS: {said}', './setup_profile.sh --lmp PROGRAM')
        if not re.search(r'\bdeepmd\b', texts['stdout']):
            remedy = "pip install 'aiida-softclay[engines]', or build LAMMPS with the DeePMD-kit plugin"
            return EngineCheck(label, False, f'LAMMPS {version[1]} does not know pair_style deepmd', remedy)
        return EngineCheck(label, True, f'LAMMPS {version[1]} knows pair_style deepmd')
    if name == 'dp':
        text = texts['stdout'] + texts['stderr']
        if status != '0':
            remedy = "pip install 'aiida-softclay[engines]', or ./setup_profile.sh --dp PROGRAM"
            return EngineCheck(label, False, f'{program} fails: {said}', remedy)
        if 'min_nbor_dist' not in text and 'minimal' not in text:
            return EngineCheck(label, False, f'{program} is not DeePMD-kit: {said}', './setup_profile.sh --dp PROGRAM')
        return EngineCheck(label, True, 'DeePMD-kit starts and counts neighbours')
    if texts['stdout'].strip() == 'present' and status == '0':
        return EngineCheck(label, True, f'{program} is there (not run on the login node)')
    if _FINISHED not in texts['OUTCAR']:
        return EngineCheck(label, False, f'{program} does not complete a static step: {said}', 'see the message')
    energies = re.findall(r'free\s+energy\s+TOTEN\s*=\s*(-?[\d.]+)\s*eV', texts['OUTCAR'])
    if not energies:
        return EngineCheck(label, False, f'{program} ends without an energy: {said}', 'see the message')
    return EngineCheck(label, True, f'one static step completed, energy {float(energies[-1]):.3f} eV')


def _last_words(texts: dict[str, str]) -> str:
    """Return the last line that says something, from stderr before stdout."""
    for name in ('stderr', 'stdout'):
        lines = [line.strip() for line in texts[name].splitlines() if not _TENSORFLOW_NOISE.search(line)]
        if lines:
            return lines[-1][:300]
    return 'it said nothing'
