"""The programs that the benchmarks compare with, in an environment of their own, made when it is first needed."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

#: The versions that the published ratios are of.
PACKAGES = (
    'numpy', 'h5py', 'ovito==3.17.2', 'vesin==0.6.2', 'MDAnalysis==2.11.0', 'freud-analysis==3.4.0',
    'tidynamics==1.1.2', 'polars==2.1.0',
)  # fmt: skip


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--peers`` to a benchmark."""
    parser.add_argument(
        '--peers', metavar='PYTHON',
        help='interpreter that has the peers; by default an environment of their own, installed when first needed',
    )  # fmt: skip


def peer_python(given: str | None) -> str:
    """Return the interpreter of the peers: the one given, or that of an environment under the user's cache.

    Raises
    ------
    subprocess.CalledProcessError
        If the peers cannot be installed.
    """
    if given:
        return given
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    mark = hashlib.sha256(repr((PACKAGES, sys.version_info[:2])).encode()).hexdigest()[:12]
    folder = cache / 'aiida-softclay' / f'benchmark-peers-{mark}'
    python, complete = folder / 'bin' / 'python', folder / 'complete'
    if not complete.exists():
        print(f'installing {", ".join(PACKAGES)} into {folder}', file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([str(python), '-m', 'pip', 'install', '-q', *PACKAGES], check=True, stdout=sys.stderr)
        complete.touch()
    return str(python)
