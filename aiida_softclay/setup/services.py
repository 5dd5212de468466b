"""PostgreSQL and RabbitMQ: check that they answer, make and drop what a profile needs there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import ExitStatus, SetupError

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

    from .profile import PostgresOptions


def require_database(options: PostgresOptions, name: str) -> bool:
    """Make sure that an empty database ``name`` exists; return whether it was created here.

    Raises
    ------
    SetupError
        If the server cannot be reached, the database cannot be created, or it already holds tables.
    """
    import psycopg
    from psycopg import sql

    login = {
        'host': options.db_host,
        'port': options.db_port,
        'user': options.db_user,
        'password': options.db_password,
    }
    where = f'{options.db_user}@{options.db_host}:{options.db_port}'
    try:
        with psycopg.connect(**login, dbname='postgres', autocommit=True, connect_timeout=10) as connection:
            exists = connection.execute('SELECT 1 FROM pg_database WHERE datname = %s', (name,)).fetchone()
            if not exists:
                # The collation is AiiDA's requirement: labels sort the same on every machine.
                command = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
                connection.execute(command.format(sql.Identifier(name)))
                return True
        with psycopg.connect(**login, dbname=name, connect_timeout=10) as connection:
            tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    except psycopg.errors.InsufficientPrivilege as exception:
        raise SetupError(
            ExitStatus.PROFILE,
            f'{where} may not create the database `{name}`: let the administrator run '
            f'`createdb -O {options.db_user} "{name}"` and repeat this command',
        ) from exception
    except psycopg.Error as exception:
        raise SetupError(
            ExitStatus.PROFILE,
            f'PostgreSQL does not let {where} in: {str(exception).strip()} '
            '(options --db-host, --db-port, --db-user, --db-password, --db-name)',
        ) from exception
    if tables and tables[0]:
        raise SetupError(
            ExitStatus.PROFILE, f'the database `{name}` on {options.db_host} is not empty: choose another --db-name'
        )
    return False


def drop_database(config: Mapping[str, Any], *, whole: bool) -> None:
    """Drop the database of a profile, or only AiiDA's tables in it where the database was not made by the setup."""
    import psycopg
    from psycopg import sql

    login = {
        'host': config['database_hostname'],
        'port': config['database_port'],
        'user': config['database_username'],
        'password': config['database_password'] or '',
    }
    name = config['database_name']
    try:
        if whole:
            with psycopg.connect(**login, dbname='postgres', autocommit=True, connect_timeout=10) as connection:
                command = sql.SQL('DROP DATABASE IF EXISTS {} WITH (FORCE)')
                connection.execute(command.format(sql.Identifier(name)))
            return
        with psycopg.connect(**login, dbname=name, connect_timeout=10) as connection:
            rows = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
                "AND (tablename LIKE 'db\\_%' OR tablename = 'alembic_version')"
            ).fetchall()
            for (table,) in rows:
                connection.execute(sql.SQL('DROP TABLE {} CASCADE').format(sql.Identifier(table)))
    except psycopg.Error as exception:
        raise SetupError(
            ExitStatus.PROFILE, f'the database `{name}` cannot be dropped: {str(exception).strip()}'
        ) from exception


def rabbitmq_config(options: PostgresOptions) -> dict[str, Any]:
    """Return the broker configuration of a profile after a connection to it succeeded.

    Raises
    ------
    SetupError
        If RabbitMQ does not answer.
    """
    from aiida.brokers.rabbitmq.defaults import detect_rabbitmq_config

    try:
        return detect_rabbitmq_config(
            protocol=options.broker_protocol,
            username=options.broker_user,
            password=options.broker_password,
            host=options.broker_host,
            port=options.broker_port,
            virtual_host=options.broker_vhost,
        )
    except ConnectionError as exception:
        raise SetupError(
            ExitStatus.PROFILE,
            # The message of the exception is left out: it holds the password.
            f'RabbitMQ does not let {options.broker_user}@{options.broker_host}:{options.broker_port} in '
            '(options --broker-host, --broker-port, --broker-user, --broker-password, --broker-vhost)',
        ) from exception


def drop_queue(profile: Profile) -> None:
    """Delete the task queue of a profile from RabbitMQ; a server that is gone has no queue to delete."""
    import asyncio

    from aiida.brokers.rabbitmq.utils import get_launch_queue_name
    from aio_pika import connect
    from aio_pika.exceptions import AMQPError

    config = profile.process_control_config

    async def delete() -> None:
        connection = await connect(
            host=config['broker_host'],
            port=config['broker_port'],
            login=config['broker_username'],
            password=config['broker_password'],
            virtualhost=config['broker_virtual_host'] or '/',
            ssl=config['broker_protocol'] == 'amqps',
        )
        async with connection:
            channel = await connection.channel()
            await channel.queue_delete(get_launch_queue_name(f'aiida-{profile.uuid}'))

    try:
        asyncio.run(delete())
    except (AMQPError, ConnectionError, OSError) as exception:
        raise SetupError(
            ExitStatus.PROFILE, f'the queue of `{profile.name}` cannot be deleted from RabbitMQ: {exception}'
        ) from exception
