"""A bash in which the command lines of the documentation are typed as they stand.

Starting the command line takes seconds, most of them imports. Here the words ``softclay`` and ``verdi`` call a small
program that hands its arguments to the test process over a socket, where the same click command runs; pipes,
redirections, quotes and variables are those of bash. A command for another profile than that of the tests is started
as its own program, with an AiiDA folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
RELAY = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({socket!r})
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    complete = {{key: value for key, value in os.environ.items() if key.startswith('_SOFTCLAY')}}
    line.sendall(json.dumps([words, os.getcwd(), complete]).encode() + b'\\n')
    answer = b''.join(iter(lambda: line.recv(1 << 16), b''))
head, _, content = answer.partition(b'\\n')
status, length = json.loads(head)
if status is None:
    program = {programs!r} + '/' + words[0]
    os.execv(program, [program, *words[1:]])
for stream, part in ((sys.stdout.buffer, content[:length]), (sys.stderr.buffer, content[length:])):
    stream.write(part)
    stream.flush()
sys.exit(status)
"""
#: Programs of which only the first steps are taken: tests are looked for, a benchmark reads its options, a virtual
#: environment gets no pip, and pages are not turned.
STAND_INS = {
    'pytest': """#!/bin/sh
cd {root}; exec {python} -IS - "$@" << 'END'
import argparse, ast, pathlib
parser = argparse.ArgumentParser()
parser.add_argument('files', nargs='+', type=pathlib.Path)
parser.add_argument('-k', default='')
chosen = parser.parse_args()
for file in chosen.files:
    nodes = ast.walk(ast.parse(file.read_text(encoding='utf-8')))
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith('test_')]
    found = [name for name in names if chosen.k in name]
    assert found, (file, chosen.k)
    print(file, *found)
END
""",
    'python': """#!/bin/sh
case "$*" in
    benchmarks/*) cd {root}/benchmarks; script=${{1#*/}}; shift; exec {python} - "$script" "$@" << 'END'
import argparse, runpy, sys
parse = argparse.ArgumentParser.parse_args
def stop(*arguments):
    print('read', parse(*arguments))
    sys.exit()
argparse.ArgumentParser.parse_args = stop
sys.argv, sys.path[0] = sys.argv[1:], '.'
runpy.run_path(sys.argv[0], run_name='__main__')
END
    ;;
    '-m venv '*) shift 2; exec {python} -m venv --without-pip "$@" ;;
esac
exec {python} "$@"
""",
    'less': '#!/bin/sh\nexec cat "$@"\n',
}


@dataclass
class Outcome:
    """What a line did."""

    status: int
    stdout: str
    stderr: str


@dataclass
class Shell:
    """A folder in which lines are typed one after the other.

    Parameters
    ----------
    folder : path
        Where the reader stands first; ``~`` is the folder ``home`` in it.
    profile : str
        Name of the profile of the tests.
    environment : dict
        Further variables.
    """

    folder: Path
    profile: str
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place = self.folder
        self.hidden = self.folder / '.shell'
        (self.hidden / 'bin').mkdir(parents=True)
        (self.folder / 'home').mkdir(exist_ok=True)
        # Not in pytest's own folder: a socket's path has at most 107 bytes.
        short = tempfile.mkdtemp(prefix='softclay-')
        weakref.finalize(self, shutil.rmtree, short, ignore_errors=True)
        self.address = f'{short}/socket'
        relay = RELAY.format(python=sys.executable, socket=self.address, programs=str(PROGRAMS))
        stand_ins = {name: text.format(python=sys.executable, root=ROOT) for name, text in STAND_INS.items()}
        for name, text in {'softclay': relay, 'verdi': relay, **stand_ins}.items():
            script = self.hidden / 'bin' / name
            script.write_text(text)
            script.chmod(0o755)

    def type_line(self, line: str, program: str = 'bash') -> Outcome:
        """Type a line, and stand afterwards where it leads."""
        place, outputs = self.hidden / 'place', [self.hidden / name for name in ('stdout', 'stderr')]
        text = f'{line}\nstatus=$?\npwd > {place}\nexit $status\n' if program == 'bash' else line
        environment = {
            **os.environ, 'HOME': str(self.folder / 'home'), 'COLUMNS': '200', 'MPLBACKEND': 'agg',
            'AIIDA_PATH': str(self.folder / 'aiida'), 'PATH': f'{self.hidden / "bin"}:{PROGRAMS}:{os.environ["PATH"]}',
            'PYTHONDONTWRITEBYTECODE': '1', **self.environment,
        }  # fmt: skip
        with socket.socket(socket.AF_UNIX) as server, outputs[0].open('wb') as out, outputs[1].open('wb') as errors:
            Path(self.address).unlink(missing_ok=True)
            server.bind(self.address)
            server.listen()
            server.settimeout(0.02)
            child = subprocess.Popen(
                [shutil.which(program), '-c', text], cwd=self.place, env=environment, stdin=subprocess.DEVNULL,
                stdout=out, stderr=errors,
            )  # fmt: skip
            while child.poll() is None:
                try:
                    self._answer(server.accept()[0])
                except TimeoutError:
                    continue
        Path(self.address).unlink()
        if program == 'bash':
            self.place = Path(place.read_text().strip())
        return Outcome(child.returncode, *(path.read_text(errors='replace') for path in outputs))

    def _answer(self, connection: socket.socket) -> None:
        """Run what the relay was called with, and send status and outputs; a null status for its own program."""
        with connection:
            words, place, complete = json.loads(connection.makefile().readline())
            if self._is_elsewhere(words):
                connection.sendall(b'[null, 0]\n')
                return
            result = self._invoke(words, place, complete)
            head = json.dumps([result[0], len(result[1])]).encode()
            connection.sendall(head + b'\n' + result[1] + result[2])

    def _is_elsewhere(self, words: list[str]) -> bool:
        """Return whether a command is for another installation than that of the tests."""
        if '-p' in words[:2] and words[2] != self.profile:
            return True
        return words[0] == 'verdi' and (
            words[1] in ('profile', 'daemon', 'config') or words[1:3] in (['process', verb] for verb in CONTROLS)
        )

    def _invoke(self, words: list[str], place: str, complete: dict[str, str]) -> tuple[int, bytes, bytes]:
        command, arguments = command_of(words)
        before, home = Path.cwd(), os.environ.get('HOME', '')
        # The commands expand ~ by this variable.
        os.chdir(place)
        os.environ['HOME'] = str(self.folder / 'home')
        try:
            result = CliRunner().invoke(
                command, arguments, prog_name=words[0], env={'COLUMNS': '200', **complete}, obj=None
            )
        finally:
            os.chdir(before)
            os.environ['HOME'] = home
        errors = result.stderr_bytes
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            errors += ''.join(traceback.format_exception(result.exception)).encode()
        return result.exit_code, result.stdout_bytes, errors


#: Orders to a daemon.
CONTROLS = ('pause', 'play', 'kill', 'repair')


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """Return the click command of a program and its arguments."""
    from aiida_softclay.cli import softclay

    if words[0] == 'softclay':
        return softclay, words[1:]
    from aiida.cmdline.commands.cmd_verdi import verdi

    return verdi, words[1:]
