"""Stress pulses of several magnitudes, planes or temperatures, with replicas: what stays, and from which stress on."""

from __future__ import annotations

from aiida_softclay.workflows.experiment_series import ExperimentSeriesWorkChain
from aiida_softclay.workflows.stress_pulse import StressPulseWorkChain


class StressPulseSeriesWorkChain(ExperimentSeriesWorkChain):
    """Load a structure with pulses of several magnitudes and judge by the replicas of each what strain stays.

    gupta2023 and yang2024 compare 10 and 50 MPa. Beside the means over replicas, the table holds for each cycle the
    ratio of the residual strain to the thermal noise of the strain with a verdict (plastic, elastic or undetermined),
    and the smallest magnitude that leaves a plastic strain.
    """

    _process = StressPulseWorkChain
    _protocol_file = 'stress_pulse_series'
