"""Deformation at several rates, in several planes or at several temperatures, with replicas: yield against rate."""

from __future__ import annotations

from aiida_softclay.workflows.constant_strain import ConstantStrainWorkChain
from aiida_softclay.workflows.experiment_series import ExperimentSeriesWorkChain


class ConstantStrainSeriesWorkChain(ExperimentSeriesWorkChain):
    """Deform a structure at several rates and fit the yield stress against their logarithm.

    Beside the means over replicas, the table holds the slope with its confidence interval and, where the yield stress
    rises beyond doubt, the activation volume. Fewer than three rates make no line: the slope then has no value, and a
    warning says why.
    """

    _process = ConstantStrainWorkChain
    _protocol_file = 'constant_strain_series'
