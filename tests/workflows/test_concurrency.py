"""How many branches are submitted at once, on computers that queue and on computers that do not."""

from __future__ import annotations

import pytest
from aiida.orm import Computer, InstalledCode, Int, load_node

from aiida_softclay.workflows.concurrency import (
    GATE_MARK,
    MAX_JOBS_PROPERTY,
    UNGATED_LIMIT,
    BoundedBranchesMixin,
    computer_job_limit,
)


def make_code(label, scheduler='core.direct', prepend='', limit=None):
    computer = Computer(
        label=label, hostname='localhost', transport_type='core.local', scheduler_type=scheduler, workdir='/scratch'
    )
    computer.set_prepend_text(prepend)
    if limit is not None:
        computer.set_property(MAX_JOBS_PROPERTY, limit)
    return InstalledCode(label=label, computer=computer.store(), filepath_executable='/bin/true').store()


def test_limit_is_the_computers(aiida_profile_clean):
    assert computer_job_limit(make_code('cluster', 'core.slurm')) is None
    assert (
        computer_job_limit(make_code('gated', prepend=f'if [ "${{{GATE_MARK}:-on}}" = on ]; then :; fi', limit=2))
        is None
    )
    plain, stated = make_code('plain'), make_code('stated', limit=5)
    assert computer_job_limit(plain) == UNGATED_LIMIT
    assert computer_job_limit(stated) == 5
    assert computer_job_limit(stated, plain) == min(5, UNGATED_LIMIT)


def test_gate_of_the_setup_is_recognised(tmp_path):
    from aiida_softclay.setup.computer import job_gate

    assert GATE_MARK in job_gate(tmp_path, 2)


@pytest.mark.parametrize(('limit', 'waves'), [(None, [5]), (2, [2, 2, 1]), (7, [5])])
def test_branches_run_in_waves(aiida_profile_clean, limit, waves):
    from aiida.engine import WorkChain, calcfunction, run_get_node, while_

    @calcfunction
    def count(value):
        return Int(value.value + 1)

    sizes = []

    class Child(WorkChain):
        """Adds one."""

        @classmethod
        def define(cls, spec):
            super().define(spec)
            spec.input('value', valid_type=Int)
            spec.output('value', valid_type=Int)
            spec.outline(cls.add)

        def add(self):
            self.out('value', count(self.inputs.value))

    class Parent(BoundedBranchesMixin, WorkChain):
        """Calls five children."""

        @classmethod
        def define(cls, spec):
            super().define(spec)
            spec.outline(cls.start, while_(cls.has_pending_branches)(cls.submit_branches, cls.note), cls.finish)
            spec.output_namespace('values', valid_type=Int, dynamic=True)

        def start(self):
            self.queue_branches([f'child_{index}' for index in range(5)], limit)

        def build_branch(self, name):
            builder = Child.get_builder()
            builder.value = Int(int(name[-1]))
            return builder

        def note(self):
            sizes.append(len([key for key in self.ctx if key.startswith('branch_child')]) - sum(sizes))

        def finish(self):
            for index in range(5):
                self.out(f'values.child_{index}', self.branch(f'child_{index}').outputs.value)

    _, node = run_get_node(Parent)
    assert node.is_finished_ok
    assert [load_node(node.outputs.values[f'child_{index}'].pk).value for index in range(5)] == [1, 2, 3, 4, 5]
    assert sizes == waves
