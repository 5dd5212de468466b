"""The ways in which the driver refuses or gives up, each with the exit status it ends in."""

from __future__ import annotations


class DriverError(Exception):
    """Base of the errors that end a run with one clear line instead of a traceback."""

    exit_status = 1


class InputError(DriverError):
    """An input file is missing, malformed, contradicts another one, or asks for what the driver cannot do."""

    exit_status = 2


class CalculatorError(DriverError):
    """The calculator cannot be imported, built, or does not give what is needed."""

    exit_status = 3


class PhysicsError(DriverError):
    """The simulation left the physical: an energy, force, or position is not finite."""

    exit_status = 5
