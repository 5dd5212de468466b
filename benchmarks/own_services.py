"""PostgreSQL and RabbitMQ of one's own, in a temporary folder and on free ports, from the programs of the system.

Nothing of the machine's own servers is used or changed. As root the servers run as the users ``postgres`` and
``rabbitmq``, which Debian's packages ``postgresql`` and ``rabbitmq-server`` make: PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

#: A workchain may wait longer than the half hour after which RabbitMQ takes a task back and gives it to another worker,
#: while the first one still works on it. Only the classic format of the configuration can switch the limit off.
RABBITMQ_ADVANCED = '[{rabbit, [{consumer_timeout, undefined}]}].\n'


def find_program(name: str, *folders: str) -> str | None:
    """Return the full path of a program on the PATH or in one of the folders, which may hold wildcards."""
    places = [str(path) for folder in folders for path in sorted(Path('/').glob(folder.lstrip('/')), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([*places, os.environ.get('PATH', ''), '/usr/sbin']))


def free_ports(count: int) -> list[int]:
    """Return numbers of ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(('127.0.0.1', 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


@dataclass
class OwnServices:
    """The two servers, from ``start`` to ``stop``; use it as a context."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix='softclay-services-')))
    password: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self.initdb = find_program('initdb', '/usr/lib/postgresql/*/bin')
        self.postgres = find_program('postgres', '/usr/lib/postgresql/*/bin')
        self.rabbitmq = find_program('rabbitmq-server', '/usr/lib/rabbitmq/bin')
        self.rabbitmqctl = find_program('rabbitmqctl', '/usr/lib/rabbitmq/bin')
        self.epmd = find_program('epmd')
        self.processes: list[subprocess.Popen] = []
        self.db_port, self.broker_port, self.dist_port, self.epmd_port = free_ports(4)

    def missing(self) -> list[str]:
        """Return the Debian packages to install."""
        packages = [] if self.initdb and self.postgres else ['postgresql']
        return packages + ([] if self.rabbitmq and self.rabbitmqctl and self.epmd else ['rabbitmq-server'])

    def __enter__(self) -> OwnServices:
        self.folder.chmod(0o755)
        try:
            self._start_postgres()
            self._start_rabbitmq()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def options(self) -> list[str]:
        """Return the options by which ``setup_profile.sh --postgres`` and ``softclay setup`` find the servers."""
        return [
            '--postgres', '--db-port', str(self.db_port), '--db-user', 'aiida', '--db-password', self.password,
            '--broker-port', str(self.broker_port),
        ]  # fmt: skip

    def queued(self) -> int:
        """Return how many tasks of the daemon RabbitMQ holds, waiting or being worked on.

        Its other queues are mailboxes of single processes for what is announced to all of them.
        """
        out = subprocess.run(
            self._as('rabbitmq', str(self.rabbitmqctl), '-q', 'list_queues', '--no-table-headers', 'name', 'messages'),
            env=self._rabbit_environment(), capture_output=True, text=True, check=True, timeout=120,
        ).stdout  # fmt: skip
        rows = [line.rsplit(None, 1) for line in out.splitlines() if line.strip()]
        return sum(int(number) for name, number in rows if name.endswith('.process.queue'))

    def stop(self) -> None:
        """End the servers and remove their folder."""
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self.epmd:
            # Its own, on its own port: not the one that other Erlang programs of this machine share.
            subprocess.run(
                [self.epmd, '-port', str(self.epmd_port), '-kill'], capture_output=True, check=False, timeout=30
            )
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _as(user: str, *command: str) -> list[str]:
        """Return the command, run as another user where this one is root."""
        return ['runuser', '-u', user, '--', *command] if os.geteuid() == 0 else list(command)

    def _home(self, name: str, user: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, user)
        return folder

    def _start(self, home: Path, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f'{home.name}.log').open('wb') as log:
            process = subprocess.Popen(
                command, env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)

    def _wait(self, what: str, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.2)
        log = self.folder / f'{what}.log'
        raise TimeoutError(f'{what} does not answer after {seconds:.0f} s:\n{log.read_text()[-3000:]}')

    def _start_postgres(self) -> None:
        home = self._home('postgres', 'postgres')
        secret = home / 'password'
        secret.write_text(self.password)
        secret.chmod(0o644)
        subprocess.run(
            self._as(
                'postgres', str(self.initdb), '-D', str(home / 'data'), '-U', 'aiida', '-E', 'UTF8', '--locale=C',
                '--auth=scram-sha-256', f'--pwfile={secret}',
            ),
            cwd=home, check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        secret.unlink()
        command = [
            str(self.postgres),
            '-D',
            str(home / 'data'),
            '-h',
            '127.0.0.1',
            '-p',
            str(self.db_port),
            '-k',
            str(home),
        ]
        self._start(home, self._as('postgres', *command), dict(os.environ))

        def answers() -> bool:
            import psycopg

            try:
                psycopg.connect(
                    host='127.0.0.1', port=self.db_port, user='aiida', password=self.password, dbname='postgres'
                ).close()
            except psycopg.OperationalError:
                return False
            return True

        self._wait('postgres', answers)

    def _rabbit_environment(self) -> dict[str, str]:
        home = self.folder / 'rabbitmq'
        return {
            'PATH': os.environ.get('PATH', '') + os.pathsep + '/usr/sbin:/usr/bin:/bin',
            'HOME': str(home),
            'LANG': 'C.UTF-8',
            'ERL_EPMD_PORT': str(self.epmd_port),
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODENAME': f'softclay{self.broker_port}@localhost',
            'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODE_PORT': str(self.broker_port),
            'RABBITMQ_DIST_PORT': str(self.dist_port),
            'RABBITMQ_MNESIA_BASE': str(home / 'mnesia'),
            'RABBITMQ_LOG_BASE': str(home / 'log'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(home / 'enabled_plugins'),
            'RABBITMQ_CONFIG_FILE': str(home / 'rabbitmq'),
            'RABBITMQ_ADVANCED_CONFIG_FILE': str(home / 'advanced.config'),
            'RABBITMQ_CONF_ENV_FILE': str(home / 'rabbitmq-env.conf'),
        }

    def _start_rabbitmq(self) -> None:
        home = self._home('rabbitmq', 'rabbitmq')
        (home / 'rabbitmq.conf').write_text('loopback_users.guest = true\n')
        (home / 'advanced.config').write_text(RABBITMQ_ADVANCED)
        (home / 'enabled_plugins').write_text('[].\n')
        (home / 'rabbitmq-env.conf').write_text('')
        environment = self._rabbit_environment()
        self._start(home, self._as('rabbitmq', str(self.rabbitmq)), environment)

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(('127.0.0.1', self.broker_port)) == 0

        self._wait('rabbitmq', answers)
