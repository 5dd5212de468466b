"""What a take-away can hold, and what of it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ('archive', 'frames', 'potentials', 'structures', 'densities', 'tables', 'report', 'trajectories')
#: Trajectories are bulk, and the archive has the small ones.
DEFAULT_PARTS = PARTS[:-1]
#: Trajectories above this are left out of the archive unless they are asked for, bytes.
BULK_ABOVE = 10_000_000


@dataclass(frozen=True)
class Options:
    """What is taken.

    Attributes
    ----------
    parts : tuple of str
        Some of :data:`PARTS`.
    with_trajectories : bool
        Whether the archive keeps trajectories of any size.
    bulk_above : int
        Size above which it does not, bytes.
    leave_out : tuple of str
        Patterns of names of files that it does not keep either.
    stride : int
        Of the part ``trajectories`` every so many frames.
    callers : bool
        Whether the workchains that called what is taken, and all that these called, are taken too.
    """

    parts: tuple[str, ...] = DEFAULT_PARTS
    with_trajectories: bool = False
    bulk_above: int = BULK_ABOVE
    leave_out: tuple[str, ...] = ()
    stride: int = 1
    callers: bool = True

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ValueError(f'{", ".join(unknown)} is no part: choose from {", ".join(PARTS)}')
        if not self.parts:
            raise ValueError(f'nothing is to be taken: choose parts from {", ".join(PARTS)}')
        if self.bulk_above < 0 or self.stride < 1:
            raise ValueError('the size of bulk must not be negative, and the stride must be at least 1')

    @property
    def limit(self) -> int | None:
        """Largest trajectory of the archive, bytes; ``None`` for any."""
        return None if self.with_trajectories else self.bulk_above
