"""How setting up can end: one exit status for each kind of trouble, shared with ``setup_profile.sh``."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of ``setup_profile.sh``; the numbers are part of its interface."""

    USAGE = 2
    PYTHON = 3
    INSTALL = 4
    PROFILE = 5
    COMPUTER = 6
    ENGINE = 7
    POTENTIALS = 8
    DAEMON = 9
    STUDY = 10
    TESTS = 11
    REFUSED = 12


class SetupError(Exception):
    """Something the user has to decide or repair; the message says what."""

    def __init__(self, status: ExitStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
