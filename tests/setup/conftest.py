"""A profile of its own for the setup: made by the real script in a temporary AiiDA folder."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'setup_profile.sh'


@dataclass
class Sandbox:
    """A temporary AiiDA folder, whose path holds a space, and the means to run commands in it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands: this Python, that folder, and no trace of the tests' own profile."""
        drop = {'AIIDA_PROFILE', 'SOFTCLAY_DB_PASSWORD', 'SOFTCLAY_BROKER_PASSWORD'}
        kept = {key: value for key, value in os.environ.items() if key not in drop}
        path = f'{Path(sys.executable).parent}{os.pathsep}{kept.get("PATH", "")}'
        return {**kept, 'AIIDA_PATH': str(self.folder), 'PYTHON': sys.executable, 'PATH': path, 'COLUMNS': '200'}

    def run(self, *command: str | Path, timeout: float = 300) -> subprocess.CompletedProcess:
        """Run a command from a folder that is not the repository's, without a terminal."""
        return subprocess.run(
            [str(word) for word in command],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def script(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run ``setup_profile.sh`` with this Python and without installing or running the engines."""
        return self.run(SCRIPT, *arguments, '--no-venv', '--no-install', '--no-check')

    def python(self, code: str, *arguments: str) -> str:
        """Run Python code and return what it printed."""
        result = self.run(sys.executable, '-c', code, *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


@pytest.fixture
def sandbox(tmp_path) -> Sandbox:
    """An empty AiiDA folder."""
    folder = tmp_path / 'aiida folder'
    folder.mkdir()
    return Sandbox(folder)


@pytest.fixture
def placeholder_family(aiida_profile) -> str:
    """A family of placeholders for lithium and fluorine."""
    from aiida_softclay.calculations.potcars import upload_placeholder_family

    upload_placeholder_family('check-family', ['Li', 'F'])
    return 'check-family'
