"""The commands that the README of a take-away names, typed as they stand there, in an installation of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

from aiida import orm
from export_samples import sample_study

from aiida_softclay.report.export import Options, take_away
from aiida_softclay.report.provenance import trace
from aiida_softclay.report.queries import results_table


def test_commands_of_the_readme(aiida_profile_clean, tmp_path):
    computer = orm.Computer('cluster', 'cluster.example.org', '', 'core.local', 'core.direct', '/scratch').store()
    study = sample_study(tmp_path / 'sources', computer)
    take_away([study], tmp_path / 'study.zip', Options(('archive', 'tables')))
    with zipfile.ZipFile(tmp_path / 'study.zip') as archive:
        archive.extractall(tmp_path)
    folder, home = tmp_path / 'study', tmp_path / 'home'
    home.mkdir()
    environment = {
        **os.environ, 'AIIDA_PATH': str(home), 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
    }  # fmt: skip
    commands = re.findall(r'^\$ (.*)$', (folder / 'README.md').read_text(), re.MULTILINE)
    assert [line.split()[0] for line in commands] == ['verdi', 'verdi', 'softclay', 'softclay', 'verdi']
    outputs = []
    for line in commands:
        words = shlex.split(line) + (['--format', 'json'] if line.startswith('softclay') else [])
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f'{line}\n{done.stdout}{done.stderr}'
        outputs.append(done.stdout)
    numbers, steps = (json.loads(output) for output in outputs[2:4])
    # The last one reads the archive where it lies.
    look = subprocess.run(
        ['softclay', '-p', 'look', 'trace', study.uuid, '--format', 'json'],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [row['uuid'] for row in json.loads(look.stdout)] == [row['uuid'] for row in steps]
    here = json.loads(results_table(process=study).to_json(orient='records', date_format='iso'))
    for row in (*numbers, *here):
        row.pop('process_pk')
        row.pop('results_pk')
    assert numbers == here
    assert [row['uuid'] for row in steps] == [step.node.uuid for step in trace(study) if step.kind != 'time series']
    assert [row['engine'] for row in steps] == [step.engine for step in trace(study) if step.kind != 'time series']
