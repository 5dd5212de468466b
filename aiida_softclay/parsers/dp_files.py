"""Read what DeePMD-kit writes, from complete and from cut files; NumPy in and out, no AiiDA."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

#: Column of lcurve.out without its `_val`/`_trn` → unit. ``rmse`` itself is the weighted loss.
CURVE_UNITS = {'step': '1', 'rmse': '1', 'rmse_e': 'eV/atom', 'rmse_f': 'eV/Å', 'rmse_v': 'eV/atom', 'lr': '1'}

_VERSION_LINES = {
    'deepmd_version': re.compile(r'Source:\s+v?(\S+)'),
    'deepmd_commit': re.compile(r'Source Commit:\s+(\S+)'),
    'backend': re.compile(r'Backend:\s+(\S+)'),
    'framework_version': re.compile(r'(?:TF Ver|PT Ver|Jax Ver):\s+v?(\S+)'),
    'float_precision': re.compile(r'Float Precision:\s+(\S+)'),
    'device': re.compile(r'Computing Device:\s+(\S+)'),
    'intra_threads': re.compile(r'Num Intra Threads:\s+(\d+)'),
    'inter_threads': re.compile(r'Num Inter Threads:\s+(\d+)'),
}
_NUMBERS = {
    'time_per_step_s': re.compile(r'average training time:\s+([0-9.eE+-]+)'),
    'wall_time_s': re.compile(r'DEEPMD INFO\s+wall time:\s+([0-9.eE+-]+)'),
    'min_neighbour_distance_A': re.compile(r'minimal neighbor distance:\s+([0-9.eE+-]+)'),
}
_NAN = re.compile(r'NaN detected at batch\s+(\d+)')
#: The weighted loss of an untrained network is of the order of ten to a thousand.
DIVERGED = 1e8
_MAX_NEIGHBOURS = re.compile(r'maximum neighbor size:\s+\[([0-9\s,]+)\]')
_STAMP = re.compile(r'^\[[\d\-: ,]+\] DEEPMD (?:rank:\S+\s+)?(\w+)\s+(.*)$')
_NOISE = re.compile(r'implib-gen|libcudart|DeePMD-kit: (?:Cannot find|Error message)|^\s*\^|absl::|horovod')
_MEMORY = re.compile(
    r'bad_alloc|OOM when allocating|ResourceExhausted|RESOURCE_EXHAUSTED|MemoryError|Cannot allocate memory|'
    r'Out Of Memory|oom-kill|oom_kill|OutOfMemory',
    re.IGNORECASE,
)
_DISK = re.compile(r'No space left on device|Disk quota exceeded|ENOSPC|File system is full', re.IGNORECASE)
#: Of TensorFlow and of PyTorch.
_OTHER_MODEL = re.compile(
    r'Assign requires shapes of both tensors to match|mismatch between the current graph and the graph from the '
    r'checkpoint|graph key that is missing from the checkpoint|size mismatch for |Error\(s\) in loading state_dict'
)
_CHECKPOINT_GONE = re.compile(
    r'(?:does not exist|No such file or directory|not found|NotFoundError|Failed to find any matching files).*'
    r'model\.ckpt|DataLossError|Unable to open table file|PytorchStreamReader failed'
)


class UnreadableError(ValueError):
    """A file that dp wrote cannot be used; the message says why."""


@dataclass
class LearningCurve:
    """The errors over the steps of a training.

    Attributes
    ----------
    arrays : dict of str to ndarray, shape (n_rows,)
        ``step`` and the columns of lcurve.out under their own names.
    n_restarts : int
        How often the training was continued.
    dropped_lines : int
        Lines that could not be read (a line cut by a kill) or were overtaken by a continued run.
    """

    arrays: dict[str, np.ndarray]
    n_restarts: int = 0
    dropped_lines: int = 0

    @property
    def last_step(self) -> int:
        """Last step on record."""
        return int(self.arrays['step'][-1])

    @property
    def first_bad_step(self) -> int | None:
        """First step whose total loss on the training set is not finite or beyond all bounds, or ``None``.

        Single columns may be nan by right: dp prints nan where there are no reference data.
        """
        name = 'rmse_trn' if 'rmse_trn' in self.arrays else 'rmse'
        if name not in self.arrays:
            return None
        # Written so that a loss that is not a number counts.
        bad = np.flatnonzero(~(self.arrays[name] < DIVERGED))
        return int(self.arrays['step'][bad[0]]) if len(bad) else None

    def units(self) -> dict[str, str]:
        """Return the unit of each array."""
        return {name: CURVE_UNITS.get(re.sub('_(val|trn)$', '', name), '1') for name in self.arrays}


def read_learning_curve(lines: Iterable[str]) -> LearningCurve:
    """Read lcurve.out, also one that several runs appended to.

    A run that continues from a checkpoint writes the header again and repeats the steps since the checkpoint; what
    it wrote replaces what the cut run had written there.

    Raises
    ------
    UnreadableError
        If there is no header, no row, or a later header has other columns.
    """
    columns: list[str] | None = None
    rows: list[list[float]] = []
    restarts = dropped = 0
    fresh = False
    for raw in lines:
        line = raw.rstrip('\n')
        if '#' in line and not line.startswith('#'):
            # A row cut by a kill, without the end of its line: the header of the continued run follows right behind.
            dropped += 1
            line = line[line.index('#') :]
        if line.startswith('#'):
            words = line[1:].split()
            if not words or words[0] != 'step':
                continue
            if columns is not None and words != columns:
                raise UnreadableError('a continued run wrote other columns than the first')
            restarts += columns is not None
            columns, fresh = words, True
            continue
        if not line.strip():
            continue
        row = _row(line) if raw.endswith('\n') and columns is not None else None
        if row is None or len(row) != len(columns or ()) or row[0] != int(row[0]):
            dropped += 1
            continue
        if fresh or (rows and row[0] <= rows[-1][0]):
            before = len(rows)
            rows = [old for old in rows if old[0] < row[0]]
            dropped += before - len(rows)
            fresh = False
        rows.append(row)
    if columns is None:
        raise UnreadableError('it has no header')
    if not rows:
        raise UnreadableError('it has no complete row')
    table = np.array(rows)
    arrays = {name: table[:, index] for index, name in enumerate(columns)}
    arrays['step'] = arrays['step'].astype(np.int64)
    return LearningCurve(arrays, restarts, dropped)


def _row(line: str) -> list[float] | None:
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return None


def read_log(text: str) -> dict[str, Any]:
    """Return versions, device, timings and warnings from the log of any ``dp`` command."""
    facts: dict[str, Any] = {}
    for name, pattern in _VERSION_LINES.items():
        match = pattern.search(text)
        if match:
            facts[name] = int(match[1]) if name.endswith('threads') else match[1]
    for name, pattern in _NUMBERS.items():
        match = pattern.search(text)
        if match:
            facts[name] = float(match[1])
    match = _MAX_NEIGHBOURS.search(text)
    if match:
        facts['max_neighbours'] = [int(word) for word in match[1].replace(',', ' ').split()]
    match = _NAN.search(text)
    facts['nan_step'] = int(match[1]) if match else None
    facts['warnings'] = _warnings(text)
    # TensorFlow and JAX say the one, PyTorch the other.
    facts['finished'] = 'finished training' in text or 'Trained model has been saved to' in text
    return facts


def _warnings(text: str) -> list[str]:
    found: list[str] = []
    for line in text.splitlines():
        match = _STAMP.match(line)
        if match and match[1] == 'WARNING' and not _NOISE.search(line) and 'DP_INFER_BATCH_SIZE' not in line:
            found.append(match[2].strip())
    return list(dict.fromkeys(found))[:20]


def failure_kind(*texts: str) -> tuple[str, str] | None:
    """Return (``memory`` or ``disk``, the line that says so) if one of the texts does."""
    for text in texts:
        for line in text.splitlines():
            for kind, pattern in (('disk', _DISK), ('memory', _MEMORY)):
                if pattern.search(line):
                    return kind, line.strip()[:300]
    return None


def checkpoint_failure(text: str) -> tuple[str, str] | None:
    """Return (``other`` or ``gone``, the line that says so) if dp could not go on from a checkpoint.

    ``other``: its networks have other shapes or names; ``gone``: it is missing or damaged.
    """
    for kind, pattern in (('other', _OTHER_MODEL), ('gone', _CHECKPOINT_GONE)):
        match = next((line for line in text.splitlines() if pattern.search(line)), None)
        if match:
            return kind, match.strip()[:300]
    return None


def last_words(text: str) -> str:
    """Return the last line that is neither noise nor routine: of a traceback, the line with the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _NOISE.search(line)]
    errors = [line for line in lines if re.match(r'[A-Za-z_.]*(Error|Exception|Interrupt)\b', line)]
    for line in [*reversed(errors), *reversed(lines)]:
        match = _STAMP.match(line)
        return (match[2] if match else line).strip()[:300]
    return ''


def read_checkpoint_name(text: str) -> str | None:
    """Return the name of the latest checkpoint from the file ``checkpoint``, of TensorFlow or of PyTorch."""
    match = re.search(r'^model_checkpoint_path:\s*"([^"]+)"', text, re.MULTILINE)
    name = match[1] if match else text.strip().splitlines()[0].strip() if text.strip() else ''
    name = Path(name).name
    return name if re.fullmatch(r'[\w.\-]+', name) else None


def checkpoint_step(name: str | None) -> int | None:
    """Return the step in the name of a checkpoint (``model.ckpt-500``)."""
    match = re.search(r'-(\d+)(?:\.pt)?$', name or '')
    return int(match[1]) if match else None


@dataclass
class ErrorSum:
    """Sums from which RMSE, MAE and the largest error follow without keeping the errors."""

    n: int = 0
    square: float = 0.0
    absolute: float = 0.0
    largest: float = 0.0
    #: Mean square of each frame: frames, not components, are what varies independently.
    frame_squares: list[float] = field(default_factory=list)

    def add(self, difference: np.ndarray) -> None:
        """Add the errors of some frames, shape (n_frames, ...)."""
        flat = difference.reshape(len(difference), -1)
        self.n += flat.size
        self.square += float((flat**2).sum())
        self.absolute += float(np.abs(flat).sum())
        self.largest = max(self.largest, float(np.abs(flat).max(initial=0.0)))
        self.frame_squares += (flat**2).mean(axis=1).tolist()

    @property
    def n_frames(self) -> int:
        """Number of frames added."""
        return len(self.frame_squares)

    def summary(self, unit: str) -> dict[str, Any]:
        """Return the errors; the standard error of the RMSE is that of the mean square over twice the RMSE."""
        if not self.n:
            return {'rmse': None, 'rmse_error': None, 'mae': None, 'max': None, 'n_frames': 0, 'n': 0, 'unit': unit}
        rmse = float(np.sqrt(self.square / self.n))
        squares = np.array(self.frame_squares)
        error = None
        if len(squares) > 1 and rmse > 0:
            error = float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * rmse))
        return {
            'rmse': rmse,
            'rmse_error': error,
            'mae': self.absolute / self.n,
            'max': self.largest,
            'n_frames': len(squares),
            'n': self.n,
            'unit': unit,
        }


@dataclass(frozen=True)
class TestedSystem:
    """One system that ``dp test`` went through: its name, and its numbers of frames and atoms."""

    __test__ = False

    name: str
    n_frames: int
    n_atoms: int


def read_tested_systems(log: str) -> list[TestedSystem]:
    """Return the systems in the order in which ``dp test`` went through them, from what it printed.

    The atoms are counted from the formula in the name that the exporter gives a system (``0001_Ga12F36``).

    Raises
    ------
    UnreadableError
        If the log names no system, or one without its number of frames or without a formula.
    """
    systems = []
    parts = re.split(r'# testing system\s*:\s*', log)[1:]
    for part in parts:
        name = Path(part.split(maxsplit=1)[0]).name
        frames = re.search(r'# number of test data\s*:\s*(\d+)', part)
        formula = re.match(r'\d+_((?:[A-Z][a-z]?\d*)+)', name)
        if frames is None or formula is None:
            raise UnreadableError(f'the log of dp test is cut at system {name}')
        atoms = sum(int(count or 1) for _, count in re.findall(r'([A-Z][a-z]?)(\d*)', formula[1]))
        systems.append(TestedSystem(name, int(frames[1]), atoms))
    if not systems:
        raise UnreadableError('the log of dp test names no system')
    return systems


@dataclass(frozen=True)
class DetailChunk:
    """Some rows of a detail file of ``dp test``: reference and prediction, each of shape (n_rows, n_columns / 2)."""

    system: str
    reference: np.ndarray
    prediction: np.ndarray


def iter_detail(path: Path, layout: Sequence[tuple[str, int]], rows: int = 50_000) -> Iterator[DetailChunk]:
    """Yield a detail file (``detail.e.out``, ``.f.out``, ``.v.out``) in chunks of one system, of ``rows`` at most.

    ``dp test`` appends the rows of all systems and writes a header for the first one only, so what belongs to which
    system follows from ``layout``: name and number of rows of each system, in order.

    Raises
    ------
    UnreadableError
        If the file has rows that are not numbers, or more or fewer rows than the layout.
    """

    def chunk(system: str, held: list[str]) -> DetailChunk:
        try:
            table = np.array([[float(word) for word in line.split()] for line in held])
        except ValueError as error:
            raise UnreadableError(f'{path.name} has a line that is not numbers or is cut') from error
        if table.ndim != 2 or table.shape[1] % 2:
            raise UnreadableError(f'{path.name} has {table.shape[-1]} columns')
        half = table.shape[1] // 2
        return DetailChunk(system, table[:, :half], table[:, half:])

    with path.open(encoding='utf-8') as handle:
        lines = (line for line in handle if not line.startswith('#'))
        for system, count in layout:
            left = count
            while left:
                held = list(itertools.islice(lines, min(rows, left)))
                if not held:
                    raise UnreadableError(f'{path.name} is cut: {left} of {count} rows of {system} are missing')
                left -= len(held)
                yield chunk(system, held)
        if next(lines, None) is not None:
            raise UnreadableError(f'{path.name} has more rows than the {len(layout)} systems of the log')


def read_model_deviation(lines: Iterable[str]) -> dict[str, float | int]:
    """Return how far two models differ from the output of ``dp model-devi``.

    The program writes standard deviations; of two models that is half their difference.

    Raises
    ------
    UnreadableError
        If there is no row.
    """
    rows = []
    for line in lines:
        if line.startswith('#') or not line.strip():
            continue
        row = _row(line)
        if row is None or len(row) < 8:
            raise UnreadableError('model_devi.out has a line that is not numbers or is cut')
        rows.append(row)
    if not rows:
        raise UnreadableError('model_devi.out has no rows')
    table = 2 * np.array(rows)
    return {
        'n_frames': len(table),
        'max_force_difference_eV_A': float(table[:, 4].max()),
        'mean_force_difference_eV_A': float(table[:, 6].mean()),
        'max_energy_difference_eV_atom': float(table[:, 7].max()),
        'max_virial_difference_eV_atom': float(table[:, 1].max()),
    }
