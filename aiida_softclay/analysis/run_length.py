"""Whether a run is long enough for the error that is wanted, and how long to go on if it is not."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

#: An error is itself uncertain by some ten per cent: the next run aims this much beyond the length that should do.
MARGIN = 1.2
#: Shortest and longest next length of the whole run, over its present one. An error found in a short run is a poor
#: guide, so that no single step is larger; and a step much smaller than the run changes nothing.
SHORTEST_GROWTH = 1.25
LONGEST_GROWTH = 3.0


@dataclass(frozen=True)
class RunLength:
    """Decision on the length of a run.

    Attributes
    ----------
    duration_ps : float
        Length of the run.
    relative_error : float or None
        Standard error over value; ``None`` where the value is not positive or has no error.
    relative_error_wanted : float
        What it should be.
    reached : bool
        Whether it is that small, of a value that can be believed.
    extension_ps : float
        How much longer to run; 0 if the error is reached or the limit.
    max_duration_ps : float
        Limit of the length of the run.
    reason : str
        The decision as a sentence.
    """

    duration_ps: float
    relative_error: float | None
    relative_error_wanted: float
    reached: bool
    extension_ps: float
    max_duration_ps: float
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as a JSON-serialisable dictionary."""
        return asdict(self)


def judge_run_length(
    value: float,
    error: float,
    duration_ps: float,
    relative_error_wanted: float,
    max_duration_ps: float,
    *,
    diffuses: bool = True,
    what: str = 'the value',
) -> RunLength:
    r"""Return whether a run is long enough, else by how much to extend it.

    Errors of averages over a stationary run fall as :math:`t^{-1/2}` once it is much longer than its correlations, so
    that the length needed is

    .. math:: t' = 1.2 \, t \left( \frac{\epsilon}{\epsilon_\mathrm{wanted}} \right)^2

    bounded to 1.25 to 3 times the present length, and by the limit. Where the value is not positive, has no error, or
    is not yet that of a diffusing species, nothing can be predicted and the run is made three times as long.

    Parameters
    ----------
    value, error : float
        Estimate and standard error, in any unit.
    duration_ps : float
        Length of the run they come from.
    relative_error_wanted : float
        Between 0 and 1.
    max_duration_ps : float
        Longest run.
    diffuses : bool
        Whether the value is one of a species that has moved a jump at least.
    what : str
        Name of the value, for the sentence.

    Raises
    ------
    ValueError
        If a length is not positive or the wanted error is not between 0 and 1.
    """
    if not 0 < relative_error_wanted < 1:
        raise ValueError(f'a relative error of {relative_error_wanted:g} cannot be wanted: give a share such as 0.1')
    if not (duration_ps > 0 and max_duration_ps > 0):
        raise ValueError(f'lengths must be positive: {duration_ps:g} and {max_duration_ps:g} ps')
    known = value > 0 and error > 0 and math.isfinite(error)
    relative = error / value if known else None
    if relative is not None and diffuses and relative <= relative_error_wanted:
        reason = (
            f'{what} is known to {_percent(relative)} after {duration_ps:g} ps: the wanted '
            f'{_percent(relative_error_wanted)} is reached'
        )
        return RunLength(duration_ps, relative, relative_error_wanted, True, 0.0, max_duration_ps, reason)
    if relative is not None and diffuses:
        state = f'{what} is known to {_percent(relative)} after {duration_ps:g} ps'
        growth = min(max(MARGIN * (relative / relative_error_wanted) ** 2, SHORTEST_GROWTH), LONGEST_GROWTH)
    else:
        state = f'{what} cannot be told after {duration_ps:g} ps, in which the ions have hardly moved'
        growth = LONGEST_GROWTH
    aim = min(growth * duration_ps, max_duration_ps)
    extension = aim - duration_ps
    # A rest that is shorter than rounding to whole frames is none.
    if extension < 0.01 * duration_ps:
        reason = (
            f'{state}: the wanted {_percent(relative_error_wanted)} is not reached within the limit of '
            f'{max_duration_ps:g} ps'
        )
        return RunLength(duration_ps, relative, relative_error_wanted, False, 0.0, max_duration_ps, reason)
    reason = f'{state}, {_percent(relative_error_wanted)} is wanted: the run goes on for {extension:.4g} ps'
    return RunLength(duration_ps, relative, relative_error_wanted, False, extension, max_duration_ps, reason)


def _percent(share: float) -> str:
    return f'{100 * share:.3g} %'
