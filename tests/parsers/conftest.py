"""What the tests of the parsers share."""

from __future__ import annotations

from uuid import uuid4

import pytest
from aiida import orm
from aiida.common import LinkType


@pytest.fixture
def parse_dp(aiida_profile, tmp_path):
    """Return a function that parses a folder of captured outputs as those of a DeePMD job."""
    from aiida.plugins import ParserFactory

    def run(step, folder, inputs, temporary=(), stderr='', changes=None, own=None, scheduler_status=None, model=None):
        computer = orm.Computer(
            label=f'nowhere-{uuid4()}', hostname='localhost', transport_type='core.local', scheduler_type='core.direct',
            workdir=str(tmp_path),
        ).store()  # fmt: skip
        node = orm.CalcJobNode(computer=computer, process_type=f'aiida.calculations:softclay.dp.{step}')
        node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        node.set_option('scheduler_stderr', '_scheduler-stderr.txt')
        for name, data in {'backend': orm.Str('tensorflow'), **inputs}.items():
            node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, name)
        for name, text in (own or {}).items():
            node.base.repository.put_object_from_bytes(text.encode(), name)
        node.store()
        if scheduler_status is not None:
            node.set_exit_status(scheduler_status)
        retrieved = orm.FolderData()
        aside = tmp_path / f'temporary-{uuid4()}'
        aside.mkdir()
        files = {path.name: path.read_text() for path in folder.iterdir()} if folder else {}
        for name, text in (files | (changes or {})).items():
            if text is None:
                continue
            if name in temporary:
                (aside / name).write_text(text)
            else:
                retrieved.base.repository.put_object_from_bytes(text.encode(), name)
        if model is not None:
            (aside / 'model_compressed.pb').write_bytes(model)
        retrieved.base.repository.put_object_from_bytes(stderr.encode(), '_scheduler-stderr.txt')
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        results, process = ParserFactory(f'softclay.dp.{step}').parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(aside)
        )
        return results, process

    return run
