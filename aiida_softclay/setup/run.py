"""The order of things: profile, computer, codes, potentials, and the proof that the codes run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from . import codes as engine_codes
from . import computer as computers
from . import family as families
from .errors import ExitStatus, SetupError
from .marker import Marker, profile_folder
from .profile import PostgresOptions, Say, ensure_profile, load, owned_profile


@dataclass(frozen=True)
class Wishes:
    """What the user asked for beside the defaults."""

    vasp: str | None = None
    potcars: Path | None = None
    family: str = families.USER_FAMILY
    lmp: str | None = None
    dp: str | None = None
    analyse: str | None = None
    computer: str | None = None
    max_jobs: int | None = None


def configure_profile(name: str, postgres: PostgresOptions | None, wishes: Wishes, say: Say) -> Marker:
    """Make or complete the profile ``name``; a second call changes nothing that is right already.

    Raises
    ------
    SetupError
        With what the user has to decide or repair.
    """
    if (wishes.vasp is None) != (wishes.potcars is None):
        raise SetupError(
            ExitStatus.USAGE,
            'a real VASP needs your POTCAR files, and they need it: give --vasp COMMAND and --potcars DIR together',
        )
    marker, _ = ensure_profile(name, postgres, say)
    folder = profile_folder(name)
    if wishes.computer and wishes.computer != computers.LOCAL_LABEL:
        computer = computers.existing_computer(wishes.computer, wishes.max_jobs, say)
        threads = 1
    else:
        cores = computers.available_cores()
        max_jobs = wishes.max_jobs or cores
        computer = computers.ensure_local_computer(folder, max_jobs, say)
        threads = max(1, cores // max_jobs)
    for engine in engine_codes.ENGINES:
        command = getattr(wishes, engine.label)
        code = engine_codes.ensure_code(engine, computer, command, threads, folder, say)
        marker.codes[engine.label] = code.full_label
    if wishes.analyse is not None:
        # Beside the engines, which every profile has: it is looked for where LAMMPS runs, and has no task to prove.
        engine_codes.ensure_code(engine_codes.ANALYSIS, computer, wishes.analyse, threads, folder, say)
    if wishes.potcars is None:
        marker.potential_family = families.ensure_placeholder_family(say)
    else:
        marker.potential_family = families.ensure_user_family(wishes.potcars, wishes.family, say)
    marker.computer = computer.label
    marker.save()
    return marker


def verify_engines(name: str, say: Say, trust_minutes: float = 0.0) -> None:
    """Run each code of the profile ``name`` once.

    Parameters
    ----------
    name : str
        Name of the profile.
    say : callable
        Receives one line for each code.
    trust_minutes : float
        Codes that ran their check within this time are not run again.

    Raises
    ------
    SetupError
        With what is wrong with each code that does not run.
    """
    from aiida.orm import load_code

    from .engines import check_codes

    marker, _ = owned_profile(name)
    load(name)
    codes = [load_code(label) for label in marker.codes.values()]
    now = time.time()
    due = [code for code in codes if now - marker.verified.get(code.uuid, 0.0) > 60 * trust_minutes]
    if not due:
        say('each code ran a short while ago')
        return
    say('running each code once ...')
    results = check_codes(due, marker.potential_family)
    for code, result in zip(due, results, strict=True):
        say(f'{"ok  " if result.ok else "FAIL"} {result.code}: {result.message}')
        if result.ok:
            marker.verified[code.uuid] = now
        else:
            marker.verified.pop(code.uuid, None)
    marker.save()
    broken = [result for result in results if not result.ok]
    if broken:
        raise SetupError(
            ExitStatus.ENGINE, '; '.join(f'{result.code}: {result.message} -> {result.remedy}' for result in broken)
        )
