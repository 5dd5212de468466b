"""PostgreSQL and RabbitMQ: unreachable servers are named, passwords are not; a real server where one is offered."""

import os
import socket

import pytest

from aiida_softclay.setup import services
from aiida_softclay.setup.errors import ExitStatus, SetupError
from aiida_softclay.setup.profile import PostgresOptions

PASSWORD = 'secret-word'  # noqa: S105 - of nobody


@pytest.fixture
def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def test_no_postgres(closed_port):
    """The sentence names the server and the options, not the password."""
    options = PostgresOptions(db_port=closed_port, db_user='somebody', db_password=PASSWORD)
    with pytest.raises(SetupError) as caught:
        services.require_database(options, 'nothing')
    assert caught.value.status == ExitStatus.PROFILE
    assert f'somebody@127.0.0.1:{closed_port}' in str(caught.value)
    assert '--db-port' in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_no_rabbitmq(closed_port):
    """As for PostgreSQL."""
    options = PostgresOptions(broker_port=closed_port, broker_password=PASSWORD)
    with pytest.raises(SetupError) as caught:
        services.rabbitmq_config(options)
    assert caught.value.status == ExitStatus.PROFILE
    assert str(closed_port) in str(caught.value)
    assert '--broker-port' in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.skipif('SOFTCLAY_TEST_POSTGRES' not in os.environ, reason='SOFTCLAY_TEST_POSTGRES=USER is not set')
def test_profile_on_postgres_and_rabbitmq(sandbox):
    """With servers on this machine: made, reused, removed with database and queue."""
    user = os.environ['SOFTCLAY_TEST_POSTGRES']
    arguments = ('--profile', 'softclay-test', '--postgres', '--db-user', user)
    assert sandbox.script(*arguments).returncode == 0
    assert sandbox.script(*arguments).returncode == 0
    options = PostgresOptions(db_user=user)
    with pytest.raises(SetupError, match='not empty'):
        services.require_database(options, 'aiida-softclay-test')
    removed = sandbox.script('remove', '--yes', '--profile', 'softclay-test')
    assert removed.returncode == 0, removed.stderr
    assert services.require_database(options, 'aiida-softclay-test')
    config = {
        'database_hostname': options.db_host,
        'database_port': options.db_port,
        'database_username': user,
        'database_password': '',
        'database_name': 'aiida-softclay-test',
    }
    services.drop_database(config, whole=True)
