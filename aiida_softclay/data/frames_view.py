"""Labelled frames of several runs seen as one trajectory, without copying them and without loading them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .frame_block import FrameBlock, block_atoms
from .frames_store import BlockView, FramesFile

if TYPE_CHECKING:
    from ase import Atoms

#: A node of labelled frames, or the path of a frames file.
Source = Any


class FramesView:
    """A read-only trajectory made of the frames of several nodes, one after the other.

    Nothing is read before it is asked for, and then at most one slab of a few megabytes at a time. A slice is a view
    again: ``view[1000:2000:10]`` costs nothing.

    Parameters
    ----------
    frames : FramesData, path, or mapping or sequence of them
        Nodes (or frames files) in order; a mapping is taken in the order of its sorted names.
    steps : sequence of array_like, optional
        For each node the MD step of each of its frames.

    Raises
    ------
    ValueError
        If there are no frames, or the steps are not those of the frames.
    """

    def __init__(
        self,
        frames: Source | Mapping[str, Source] | Sequence[Source],
        steps: Sequence[npt.ArrayLike] | None = None,
    ) -> None:
        if isinstance(frames, Mapping):
            self.names = sorted(frames)
            self._parts = [frames[name] for name in self.names]
        else:
            self._parts = list(frames) if isinstance(frames, (list, tuple)) else [frames]
            self.names = [str(index) for index in range(len(self._parts))]
        if not self._parts:
            raise ValueError('there are no frames to view')
        sizes = [_size(part) for part in self._parts]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        self._indices = range(int(self._offsets[-1]))
        self._steps: npt.NDArray[np.int64] | None = None
        if steps is not None:
            arrays = [np.asarray(values, dtype=np.int64) for values in steps]
            if [len(values) for values in arrays] != sizes:
                raise ValueError(f'the steps are those of {[len(values) for values in arrays]} frames, not of {sizes}')
            self._steps = np.concatenate(arrays)

    def __repr__(self) -> str:
        return f'<FramesView: {len(self)} frames from {len(self._parts)} nodes>'

    def __len__(self) -> int:
        return len(self._indices)

    def __bool__(self) -> bool:
        return len(self) > 0

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self._indices)

    @property
    def steps(self) -> npt.NDArray[np.int64] | None:
        """MD step of each frame, shape (n_frames,), counted from the start of the plan; ``None`` if not known."""
        return None if self._steps is None else self._steps[np.asarray(self._indices, dtype=np.int64)]

    def __getitem__(self, index: int | slice) -> Any:
        """Return one frame as ASE atoms, or a view of some frames."""
        if isinstance(index, slice):
            chosen = self._indices[index]
            if chosen.step < 0:
                raise ValueError('frames are read forwards: use a slice with a positive step')
            view = object.__new__(FramesView)
            view.__dict__.update(self.__dict__)
            view._indices = chosen
            return view
        return self.atoms(index)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], FrameBlock]]:
        yield from self.slabs()

    def slabs(self) -> Iterator[tuple[dict[str, Any], FrameBlock]]:
        """Yield (source record, frames) in order, in pieces of bounded size that have one source each."""
        for part, local in self._local_ranges():
            with _opened(part) as opened:
                sources = opened.sources
                done = 0
                for block in opened.blocks():
                    inside = _clip(local, done, done + block.n_frames)
                    done += block.n_frames
                    yield from _block_slabs(block, inside, sources)

    def _local_ranges(self) -> Iterator[tuple[Source, range]]:
        """Yield each node that is looked at with the indices of its frames."""
        for part, start, stop in zip(self._parts, self._offsets[:-1], self._offsets[1:], strict=True):
            local = _clip(self._indices, int(start), int(stop))
            if len(local):
                yield part, local

    def atoms(self, index: int) -> Atoms:
        """Return one frame with its labels as ASE atoms (stress −virial/volume, tension positive).

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        number = self._indices[index]
        which = int(np.searchsorted(self._offsets, number, side='right')) - 1
        number -= int(self._offsets[which])
        with _opened(self._parts[which]) as opened:
            for block in opened.blocks():
                if number < block.n_frames:
                    return block.atoms(number)
                number -= block.n_frames
        raise IndexError(f'frame {index} is missing in {self.names[which]}: the node has changed')

    def images(self) -> Iterator[Atoms]:
        """Yield the frames as ASE atoms, each with its source in ``info``; one slab at a time is in memory."""
        for source, block in self.slabs():
            for row in range(block.n_frames):
                atoms = block_atoms(block, row)
                atoms.info.update({key: str(source[key]) for key in ('label', 'stage') if key in source})
                yield atoms

    def write_extxyz(self, path: str | Path) -> int:
        """Write the frames as extended XYZ, one at a time, and return their number."""
        from ase.io import write

        count = 0
        with open(path, 'w', encoding='utf-8') as handle:
            for atoms in self.images():
                write(handle, atoms, format='extxyz')
                count += 1
        return count


def _clip(indices: range, start: int, stop: int) -> range:
    """Return the members of a range that lie in ``[start, stop)``, relative to ``start``."""
    step = indices.step
    first = indices.start
    if first < start:
        first += -(-(start - first) // step) * step
    return range(first - start, max(min(indices.stop, stop), first) - start, step)


def _block_slabs(
    block: BlockView, chosen: range, sources: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], FrameBlock]]:
    """Yield the chosen frames of one block in slabs, cut where the source changes."""
    size = max(block.slab // chosen.step, 1)
    for begin in range(0, len(chosen), size):
        rows = chosen[begin : begin + size]
        window = slice(rows.start, rows[-1] + 1, rows.step)
        arrays = {name: data[window] for name, data in block.datasets.items()}
        origin = arrays.pop('source_index')
        cuts = [0, *(np.flatnonzero(np.diff(origin)) + 1).tolist(), len(origin)]
        for left, right in itertools.pairwise(cuts):
            piece = {name: values[left:right] for name, values in arrays.items()}
            yield dict(sources[int(origin[left])]), FrameBlock(atomic_numbers=block.atomic_numbers, **piece)


@contextlib.contextmanager
def _opened(part: Source) -> Iterator[FramesFile]:
    if isinstance(part, (str, Path)):
        with FramesFile(part) as frames:
            yield frames
    else:
        with part.open_frames() as frames:
            yield frames


def _size(part: Source) -> int:
    """Return the number of frames, from the attributes of a node without opening its file."""
    if isinstance(part, (str, Path)):
        with FramesFile(part) as frames:
            return frames.n_frames
    return int(part.n_frames)


def aimd_view(node: Any) -> FramesView:
    """Return the frames of an AIMD workchain as one trajectory, with the step of each.

    Parameters
    ----------
    node : aiida.orm.WorkChainNode
        A ``softclay.aimd`` that has run; of one that failed, what it kept.

    Raises
    ------
    ValueError
        If it has no frames.
    """
    nodes = dict(node.outputs.frames) if 'frames' in node.outputs else {}
    if not nodes:
        raise ValueError(f'{node.process_label} <{node.pk}> has no frames')
    steps = [run_steps(nodes[name].creator.outputs.statistics.get_dict()) for name in sorted(nodes)]
    return FramesView(nodes, steps)


def run_steps(statistics: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Return the MD step of each frame that a run kept, shape (n_frames,), from its statistics."""
    first, stride = int(statistics['first_step']), int(statistics['frame_stride'])
    done = int(statistics['steps_recorded'])
    steps = np.arange(-(-first // stride) * stride, first + done, stride, dtype=np.int64)
    return steps[~np.isin(steps, statistics['steps_left_out'])]
