"""How a page of the documentation is gone through: lines are typed, blocks of Python run, outcomes judged."""

from __future__ import annotations

import re
import shutil
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest
import yaml
from aiida import orm
from aiida.manage import get_manager
from documented_lines import files_of, steps_of
from documented_places import NOT_HERE, filled_in
from documented_python import ELSEWHERE as PYTHON_ELSEWHERE
from documented_python import given, run_block
from documented_setup import make_repository, parse_calls, take_calls
from documented_shell import Outcome, Shell

#: Lines, with keys in the places of placeholders, that were typed: one that several pages have is typed once.
DONE: set[str] = set()
#: What names a file that a command writes.
WRITES = (r'(?:-o|--output|--picture) (\S+)', r'> (\S+)', r'softclay export \d+(?: \d+)? (\S+)')


class Broker:
    """In the place of the broker: takes what is submitted, and a daemon that is done with it at once."""

    is_daemon_running = True

    def __init__(self, profile: Any) -> None:
        self.profile = profile

    def continue_process(self, pid: int, **_: Any) -> None:
        """Load the process as a worker of the daemon does, and end its node as a worker would after its last step."""
        from plumpy import LoadSaveContext

        runner = get_manager().get_runner()
        bundle = runner.persister.load_checkpoint(pid)
        process = bundle.unbundle(LoadSaveContext(loop=runner.loop, runner=runner))
        assert process.spec().inputs.validate(process.inputs) is None
        process.close()
        node = orm.load_node(pid)
        node.set_process_state('finished')
        node.set_exit_status(0)
        node.seal()


@contextmanager
def at_the_broker() -> Iterator[None]:
    """Put the stand-in into the place of broker and daemon; all else of a submission is AiiDA's."""
    with pytest.MonkeyPatch.context() as patch:
        broker = Broker(get_manager().get_profile())
        patch.setattr(get_manager().get_runner(), '_controller', broker)
        patch.setattr('aiida.engine.daemon.client.get_daemon_client', lambda *_: broker)
        yield


def go_through(
    page: str, shell: Shell, nodes: dict[str, Any], kinds: tuple[str, ...] = ('console', 'python')
) -> list[str]:
    """Do what a page tells to do, in order; return what went wrong."""
    failures: list[str] = []
    for name, text in files_of(page).items():
        (shell.folder / name).write_text(text)
    with ExitStack() as opened, pytest.MonkeyPatch.context() as patch:
        names = given(page, nodes, opened)
        patch.chdir(shell.folder)
        for kind, text in steps_of(page):
            if kind not in kinds:
                continue
            try:
                if kind == 'console' and text not in NOT_HERE:
                    type_and_judge(page, text, shell, nodes)
                elif kind == 'python' and page not in PYTHON_ELSEWHERE:
                    with at_the_broker():
                        run_block(page, text, nodes, names)
            except Exception as error:
                # Whatever a line or a block raises; the rest of the page is gone through all the same.
                failures.append(f'{page}: {text}\n{"".join(traceback.format_exception(error))}')
    return failures


def type_and_judge(page: str, line: str, shell: Shell, nodes: dict[str, Any], once: bool = True) -> None:
    """Type a line, with keys in the places of placeholders, unless it was ``once``; judge what it did."""
    command = filled_in(page, line, nodes)
    if 'URL-OF-THIS-REPOSITORY' in command:
        command = command.replace('URL-OF-THIS-REPOSITORY', str(make_repository(shell.folder)))
    if once and command in DONE:
        return
    before = count_processes()
    with at_the_broker() if ' launch ' in command else nullcontext():
        outcome = shell.type_line(*of_another_shell(command))
    said = f'{command}\n{outcome.stdout[-3000:]}\n{outcome.stderr[-3000:]}'
    # What is not installed here is found, and said with what to type.
    assert outcome.status in ((0, 1) if command.endswith('softclay check') else (0,)), said
    assert 'Traceback' not in outcome.stderr, said
    judge_files(command, shell, said)
    if ' launch ' in command and ' protocols ' not in command:
        judge_launch(command, outcome, count_processes() - before, said)
    if 'setup_profile.sh' in command:
        called = parse_calls(take_calls(shell.folder))
        assert 'setup configure' in called, said
        if ' demo' in command:
            assert called[-2:] == ['setup daemon', 'launch study'], said
    DONE.add(command)


def count_processes() -> int:
    """Return the number of processes in the profile."""
    return orm.QueryBuilder().append(orm.ProcessNode).count()


def judge_files(command: str, shell: Shell, said: str) -> None:
    """The files that a command names are there and hold something."""
    for pattern in WRITES:
        for name in re.findall(pattern, command):
            if name != '-' and '--dry-run' not in command:
                path = shell.place / name
                assert path.exists(), f'{said}\n{name} is not there'
                assert path.is_dir() or path.stat().st_size > 0, f'{said}\n{name} is empty'
                if path.suffix == '.yaml':
                    assert isinstance(yaml.safe_load(path.read_text(encoding='utf-8')), dict), name


def judge_launch(command: str, outcome: Outcome, made: int, said: str) -> None:
    """A dry run prints its cost and stores no process; a launch says which process it submitted."""
    if '--dry-run' in command:
        assert 'core-hours' in outcome.stdout, said
        assert made == 0, said
        return
    (pk,) = re.findall(r'<(\d+)> is submitted', outcome.stdout)
    assert orm.load_node(int(pk)).is_finished_ok, said


def of_another_shell(line: str) -> tuple[str, str]:
    """Return a line and the shell that is to read it; where that is not there, the part that any shell reads."""
    other = re.search(r'_SOFTCLAY_COMPLETE=(zsh|fish)_source softclay', line)
    if other is None:
        return line, 'bash'
    return (line, other[1]) if shutil.which(other[1]) else (other[0], 'bash')
