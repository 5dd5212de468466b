"""What a ZeroMQ broker that was killed leaves behind, and whether the daemon's workers reach the one that runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile


def broker_leftover(profile: Profile) -> Path | None:
    """Return the file by which a killed ZeroMQ broker leads new workers astray, or None if there is none.

    The file names the folder of the broker's sockets. A broker that ends removes it, a killed one does not, and AiiDA
    2.9 starts broker and workers at the same time: a worker that reads it before the new broker has rewritten it waits
    for ever at sockets that no longer exist, and every process stays *Waiting*.

    Parameters
    ----------
    profile : Profile
        Profile whose broker is looked at.
    """
    if profile.process_control_backend != 'core.zeromq':
        return None
    from aiida.brokers.zeromq.broker import ZeromqBroker
    from aiida.brokers.zeromq.service import ZeromqBrokerService
    from aiida.manage.configuration import get_config

    layout = ZeromqBrokerService.FilepathLayout(get_config().filepaths(profile)['broker_service']['dir'])
    if not layout.sockets_file.exists() or ZeromqBroker(profile).check_service_reachable():
        return None
    return layout.sockets_file


def clear_broker_leftover(profile: Profile) -> bool:
    """Remove what a killed ZeroMQ broker left behind; return whether there was anything. Tasks are never touched."""
    leftover = broker_leftover(profile)
    if leftover is None:
        return False
    leftover.unlink(missing_ok=True)
    return True


def start_command(profile: Profile) -> str:
    """Return the line to type that starts the daemon, clearing first what a killed broker left behind."""
    return f'{clearing_command(profile)}verdi -p {profile.name} daemon start'


def clearing_command(profile: Profile) -> str:
    """Return the command, with its semicolon, that must come before a start after a broker was killed; else nothing."""
    leftover = broker_leftover(profile)
    return '' if leftover is None else f'rm -f {shlex.quote(str(leftover))}; '
