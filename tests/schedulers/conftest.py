"""A real SLURM of one node, in a folder of its own: nothing of the machine's own services is used or changed."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from fast_lammps import make_code

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'squeue', 'scancel', 'scontrol')
#: Debian keeps the daemons where the PATH of an ordinary user does not look.
SEARCH = os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', '/usr/local/sbin'])

CONFIGURATION = """\
ClusterName=softclay
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
# No control groups: a container may not make them.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# The node has the cores that are written here, whatever the machine has.
SlurmdParameters=config_overrides
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
# A node that the operator took down stays down until the operator brings it back.
ReturnToService=1
KillWait=2
MinJobAge=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP
"""

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user_key.pub
PasswordAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
# What a login on a cluster sets up by itself.
SetEnv SLURM_CONF={folder}/slurm.conf
"""


@dataclass
class Job:
    """One line of the queue."""

    number: str
    state: str
    folder: Path


@dataclass
class Slurm:
    """A running SLURM, and what its operator can do."""

    folder: Path
    node: str
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which SLURM's commands find this SLURM."""
        return {**os.environ, 'SLURM_CONF': str(self.folder / 'slurm.conf'), 'PATH': SEARCH}

    def command(self, *words: str) -> str:
        """Run a command of SLURM and return what it printed."""
        result = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, f'{" ".join(words)}: {result.stderr}'
        return result.stdout

    def start(self, *words: str) -> None:
        """Start a service that stays in the foreground, its messages going to a file."""
        with (self.folder / f'{Path(words[0]).name}.out').open('wb') as out:
            process = subprocess.Popen(
                words, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        self.processes.append(process)

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 240.0) -> object:
        """Return what the condition returns, as soon as it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.05)
        logs = '\n'.join(f'--- {path.name}\n{path.read_text()[-2000:]}' for path in sorted(self.folder.glob('*.out')))
        raise TimeoutError(f'waited {seconds:.0f} s for {what}\n{logs}')

    def jobs(self, *states: str) -> list[Job]:
        """Return the jobs that are in one of these states (short names: PD, R, CG, ...)."""
        lines = self.command('squeue', '--noheader', '--sort=i', '--format=%i|%t|%Z').splitlines()
        jobs = [Job(number, state, Path(folder)) for number, state, folder in (line.split('|') for line in lines)]
        return [job for job in jobs if job.state in states]

    def running_with(self, *names: str) -> Job:
        """Return the first running job that has written something into one of these files."""

        def find() -> Job | None:
            for job in self.jobs('R'):
                files = [job.folder / name for name in names]
                if any(file.is_file() and file.stat().st_size for file in files):
                    return job
            return None

        return self.wait(find, f'a running job with {" or ".join(names)}')

    def waiting(self, stage: str) -> Job:
        """Return the first job that waits in the queue and has this stage in its plan."""

        def find() -> Job | None:
            jobs = (job for job in self.jobs('PD') if f' {stage}.a.restart ' in (job.folder / 'input.in').read_text())
            return next(jobs, None)

        return self.wait(find, f'a waiting job with stage {stage}')

    def freeze(self, job: Job) -> None:
        """Let the programs of a running job hang, as at a file system that does not answer."""
        for process in psutil.process_iter(['name', 'cwd']):
            if process.info['name'] == 'lmp' and process.info['cwd'] == str(job.folder):
                process.suspend()

    def gone(self, job: Job) -> None:
        """Return when the job is neither waiting nor running nor being ended."""
        self.wait(lambda: job.number not in {other.number for other in self.jobs('PD', 'R', 'CG')}, f'the end of {job}')

    def exhaust_time(self, job: Job) -> None:
        """Let the time limit of a running job be over now: limits are whole minutes, too long for a test."""
        # The controller looks at the limits every half minute.
        now = time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(time.time() + 1))
        self.command('scontrol', 'update', f'JobId={job.number}', f'EndTime={now}')

    def set_node(self, state: str) -> None:
        """Drain the node, take it down or bring it back (DRAIN, DOWN, RESUME)."""
        reason = () if state == 'RESUME' else ('Reason=maintenance',)
        self.command('scontrol', 'update', f'NodeName={self.node}', f'State={state}', *reason)

    def stop(self) -> None:
        """End the services, the last one started first."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_ports(count: int) -> list[int]:
    """Return numbers of ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(('127.0.0.1', 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def skip_without(names: tuple[str, ...], packages: str, promised: bool) -> None:
    """Skip where programs are missing, or fail where they are promised."""
    lacking = [name for name in names if shutil.which(name, path=SEARCH) is None]
    if lacking:
        text = f'{", ".join(lacking)} not installed: apt-get install {packages}'
        if promised:
            pytest.fail(f'{text} (SOFTCLAY_REQUIRE_SLURM is set)')
        pytest.skip(text)


def program(name: str) -> str:
    """Return the full path of a service."""
    path = shutil.which(name, path=SEARCH)
    assert path is not None
    return path


@pytest.fixture(scope='module')
def slurm() -> Iterator[Slurm]:
    """A SLURM of one node with four cores, started for the tests of one file."""
    skip_without(PROGRAMS, 'slurm-wlm munge', promised='SOFTCLAY_REQUIRE_SLURM' in os.environ)
    # Sockets allow only short paths, so not pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix='softclay-slurm-'))
    host = socket.gethostname().split('.')[0]
    cluster = Slurm(folder, host)
    try:
        for name in ('state', 'spool'):
            (folder / name).mkdir()
        key = folder / 'munge.key'
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        controller_port, node_port = free_ports(2)
        text = CONFIGURATION.format(
            host=host, folder=folder, user=getpass.getuser(), controller_port=controller_port, node_port=node_port
        )
        (folder / 'slurm.conf').write_text(text)
        files = {'key-file': 'munge.key', 'socket': 'munge.socket', 'pid-file': 'munge.pid', 'log-file': 'munge.log',
                 'seed-file': 'munge.seed'}  # fmt: skip
        options = [f'--{option}={folder / name}' for option, name in files.items()]
        # --force: it objects to a folder that others cannot look into.
        cluster.start(program('munged'), '--foreground', '--force', *options)
        cluster.wait((folder / 'munge.socket').exists, 'munged')
        cluster.start(program('slurmctld'), '-D')
        cluster.start(program('slurmd'), '-D')
        environment = cluster.environment

        def idle() -> bool:
            result = subprocess.run(
                ['sinfo', '--noheader', '--format=%T'], env=environment, capture_output=True, text=True, check=False
            )
            return result.stdout.strip() == 'idle'

        cluster.wait(idle, 'an idle node')
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ssh_login(slurm) -> dict[str, object]:
    """An SSH server of its own, by which the machine reaches itself; the parameters of AiiDA's transport for it."""
    skip_without(('sshd', 'ssh-keygen'), 'openssh-server', promised=False)
    folder = slurm.folder
    for name in ('host_key', 'user_key'):
        if not (folder / name).exists():
            subprocess.run(
                ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(folder / name)], check=True, timeout=60
            )
    # OpenSSH's privilege separation wants this folder, which its service makes at boot.
    if os.geteuid() == 0:
        Path('/run/sshd').mkdir(mode=0o755, exist_ok=True)
    (port,) = free_ports(1)
    (folder / 'sshd_config').write_text(SSHD.format(port=port, folder=folder))
    slurm.start(program('sshd'), '-D', '-e', '-f', str(folder / 'sshd_config'))

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', port)) == 0

    slurm.wait(answers, 'sshd')
    return {
        'username': getpass.getuser(),
        'port': port,
        'key_filename': str(folder / 'user_key'),
        'look_for_keys': False,
        'allow_agent': False,
        'load_system_host_keys': False,
        'key_policy': 'AutoAddPolicy',
    }


@pytest.fixture
def slurm_computer(slurm, aiida_profile_clean, tmp_path, monkeypatch):
    """The cluster as AiiDA sees it over the local transport."""
    from aiida.orm import Computer

    monkeypatch.setenv('SLURM_CONF', str(slurm.folder / 'slurm.conf'))
    computer = Computer(
        label='cluster', hostname='localhost', transport_type='core.local', scheduler_type='core.slurm',
        workdir=str(tmp_path / 'work'),
    ).store()  # fmt: skip
    computer.set_minimum_job_poll_interval(0.2)
    computer.set_default_mpiprocs_per_machine(1)
    computer.configure(safe_interval=0.0)
    return computer


@pytest.fixture
def slurm_computer_ssh(slurm, ssh_login, aiida_profile_clean, tmp_path):
    """The cluster as AiiDA sees it over SSH; SLURM's configuration comes from the login, not from this process."""
    from aiida.orm import Computer

    assert 'SLURM_CONF' not in os.environ
    computer = Computer(
        label='cluster-ssh', hostname='127.0.0.1', transport_type='core.ssh', scheduler_type='core.slurm',
        workdir=str(tmp_path / 'work'),
    ).store()  # fmt: skip
    computer.set_minimum_job_poll_interval(0.2)
    computer.set_default_mpiprocs_per_machine(1)
    computer.configure(safe_interval=0.0, **ssh_login)
    return computer


@pytest.fixture
def slurm_lmp(slurm_computer, lmp_program):
    """LAMMPS on the cluster."""
    return make_code(slurm_computer, 'lmp')


@pytest.fixture
def slurm_lmp_ssh(slurm_computer_ssh, lmp_program):
    """LAMMPS on the cluster, over SSH."""
    return make_code(slurm_computer_ssh, 'lmp')
