"""What ``softclay check`` finds: lost, paused and left-over processes, and full disks."""

import json
import os
from collections import namedtuple
from types import SimpleNamespace

import pytest
from aiida.common.links import LinkType
from aiida.orm import CalcFunctionNode, WorkChainNode

from aiida_softclay.setup import health

Profile = namedtuple('Profile', 'name process_control_backend')
Usage = namedtuple('Usage', 'total used free')


def node(kind, state='running', **attributes):
    """Return a stored process node in a state."""
    made = kind()
    made.set_process_state(state)
    made.set_process_label(kind.__name__)
    made.base.attributes.set_many(attributes)
    return made


def test_tasks_are_read_without_touching_them(tmp_path):
    """AiiDA's own reader moves tasks from `processing` to `pending`, which would run them twice."""
    for place, pk in (('pending', 11), ('processing', 12)):
        (tmp_path / place).mkdir()
        body = {'task': 'continue', 'args': {'pid': pk, 'nowait': False, 'tag': None}}
        (tmp_path / place / f'1_{pk}.json').write_text(json.dumps({'body': body}))
    (tmp_path / 'pending' / '3_x.json').write_text(json.dumps({'body': {'task': 'other'}}))
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*'))
    assert health.zeromq_tasks(tmp_path) == {11, 12}
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*')) == before
    assert health.zeromq_tasks(tmp_path / 'missing') == set()


def test_paused_process(aiida_profile):
    """A paused process is named with its reason and with what plays it."""
    paused = node(WorkChainNode, 'waiting', paused=True).store()
    paused.set_process_status('Pausing after failed transport task')
    (finding,) = health._processes(Profile('p', 'core.rabbitmq'), [paused], True)
    assert finding.status == health.FAILURE
    assert 'Pausing after failed' in finding.message
    assert f'verdi -p p process play {paused.pk}' in finding.remedy


def test_calculation_function_under_way_needs_no_task(aiida_profile):
    """It is run by the task of its caller; left behind by a killed worker it is lost."""
    caller = node(WorkChainNode).store()
    first = node(CalcFunctionNode)
    first.base.links.add_incoming(caller, LinkType.CALL_CALC, 'first')
    first.store()
    assert not health._needs_task(first)
    second = node(CalcFunctionNode)
    second.base.links.add_incoming(caller, LinkType.CALL_CALC, 'second')
    second.store()
    assert health._needs_task(first)
    assert not health._needs_task(second)


def test_no_process(aiida_profile):
    """Nothing under way is in order."""
    (finding,) = health._processes(Profile('p', 'core.zeromq'), [], False)
    assert finding.status == health.OK


@pytest.mark.parametrize(('free_gb', 'status'), [(100, 'ok'), (2, 'warning'), (0.1, 'failure')])
def test_disk(monkeypatch, tmp_path, free_gb, status):
    """Little room warns, none fails."""
    monkeypatch.setattr(health.shutil, 'disk_usage', lambda _: Usage(0, 0, free_gb * 1e9))
    finding = health.disk_space(tmp_path)
    assert finding.status == status
    assert bool(finding.remedy) == (status != 'ok')


def test_leftover_of_a_killed_broker(monkeypatch, tmp_path):
    """The file that leads new workers to sockets that are gone is found and removed; a live broker's is not touched."""
    from aiida.brokers.zeromq.service import PID_SENTINEL
    from aiida.manage.configuration.config import Config

    from aiida_softclay.setup import broker

    paths = {'broker_service': {'dir': str(tmp_path), 'log': str(tmp_path / 'broker.log')}}
    monkeypatch.setattr(Config, 'filepaths', lambda self, profile: paths)
    profile = SimpleNamespace(process_control_backend='core.zeromq', name='any')
    assert broker.broker_leftover(profile) is None
    sockets = tmp_path / 'broker.sockets'
    sockets.write_text('/nowhere')
    (tmp_path / 'broker.pid').write_text(f'{PID_SENTINEL} {os.getpid()}')
    assert broker.broker_leftover(profile) is None
    assert not broker.clear_broker_leftover(profile)
    (tmp_path / 'broker.pid').write_text(f'{PID_SENTINEL} 2147483647')
    assert broker.broker_leftover(profile) == sockets
    assert broker.clear_broker_leftover(profile)
    assert not sockets.exists()
    profile.process_control_backend = 'core.rabbitmq'
    assert broker.broker_leftover(profile) is None


@pytest.mark.parametrize(('age', 'subscribers', 'deaf'), [(100.0, 0, True), (10.0, 0, False), (100.0, 1, False)])
def test_workers_that_do_not_reach_the_broker(monkeypatch, age, subscribers, deaf):
    """A daemon is given time to connect its workers; after that a broker without a listener is a failure."""
    import psutil
    from aiida.engine.daemon import client

    monkeypatch.setattr(client, 'get_daemon_client', lambda name: SimpleNamespace(get_daemon_pid=os.getpid))
    born = psutil.Process().create_time()
    monkeypatch.setattr(health.time, 'time', lambda: born + age)
    assert health._deaf(SimpleNamespace(name='any'), {'task_subscribers': subscribers}) is deaf
