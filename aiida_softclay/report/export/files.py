"""The parts of a take-away that other programs read: frames, potentials, structures, densities, trajectories."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiida import orm

from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.frames import FramesData
from aiida_softclay.data.frames_file import export_deepmd_npy, export_extxyz
from aiida_softclay.data.left_out import missing_file
from aiida_softclay.data.potential import PotentialData
from aiida_softclay.data.telling import Tell
from aiida_softclay.data.trajectory import MdTrajectoryData
from aiida_softclay.data.trajectory_export import export_trajectory
from aiida_softclay.report.export.selection import Selection, words

#: Bytes of a frame for an atom: position and force of single precision, and a line of text.
NPY_BYTES, EXTXYZ_BYTES = 24, 110
#: Bytes of an atom in a CIF, and in a frame of an XTC file.
CIF_BYTES, XTC_BYTES = 60, 6


@dataclass
class Taken:
    """A file or folder of a take-away and what it holds.

    Attributes
    ----------
    path : Path
        Relative to the take-away.
    holds : str
        In words, with units.
    uuids : list of str
        The nodes that have the same content.
    """

    path: Path
    holds: str
    uuids: list[str] = field(default_factory=list)


def frames_nodes(selection: Selection) -> Iterator[tuple[FramesData, list[str]]]:
    """Yield each set of labelled frames once, with the uuids of all nodes of that content; the file must be here."""
    same: dict[str, list[FramesData]] = {}
    for node in filter(has_file, selection.nodes(FramesData)):
        same.setdefault(node.content_hash, []).append(node)
    for nodes in same.values():
        yield nodes[0], [node.uuid for node in nodes]


def write_frames(selection: Selection, folder: Path, tell: Tell) -> Iterator[Taken]:
    """Write each set of labelled frames for DeePMD-kit (npy) and as extended XYZ."""
    sets = list(frames_nodes(selection))
    for done, (node, uuids) in enumerate(sets, start=1):
        target = folder / selection.names[node.pk]
        target.mkdir(parents=True)
        with node.open_frames() as opened:
            export_deepmd_npy(opened, target / 'deepmd', node.elements)
            export_extxyz(opened, target / 'frames.extxyz')
        labels = engine_text(node.engine) or 'unknown'
        yield Taken(
            target, f'{node.n_frames} labelled frames of {", ".join(node.formulas)}; labels: {labels}; energy: '
            f'{node.energy_kind}', uuids,
        )  # fmt: skip
        tell('frames', done, len(sets))


def potentials(selection: Selection) -> dict[PotentialData, list[str]]:
    """Return each model once, by its newest node, which knows how it was tested, with the uuids of all of that file."""
    same: dict[str, list[PotentialData]] = {}
    for node in filter(has_file, selection.nodes(PotentialData)):
        same.setdefault(node.md5, []).append(node)
    return {nodes[-1]: [node.uuid for node in nodes] for nodes in same.values()}


def write_potentials(selection: Selection, folder: Path, tell: Tell) -> Iterator[Taken]:
    """Write each model under its own extension, by which DeePMD-kit chooses the backend, and a list of md5 sums."""
    models = potentials(selection)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for done, (node, uuids) in enumerate(models.items(), start=1):
        target = folder / (selection.names[node.pk] + Path(node.filename).suffix)
        digest = hashlib.md5(usedforsecurity=False)
        with node.open(mode='rb') as source, target.open('wb') as copy:
            while block := source.read(1 << 20):
                digest.update(block)
                copy.write(block)
        if digest.hexdigest() != node.md5:
            raise OSError(f'the model of potential {node.pk} is not the file that was stored: its md5 differs')
        lines.append(f'{node.md5}  {target.name}\n')
        errors = ', '.join(f'{name} {value:.4g}' for name, value in (node.test_rmse or {}).items())
        yield Taken(
            target, f'DeePMD model ({node.model_backend}, DeePMD-kit {node.version or "?"}) for '
            f'{" ".join(node.type_map)}, cutoff {node.rcut:g} Å'
            + (f', fitted to {engine_text(node.labels)}' if node.labels else '')
            + (f', test RMSE: {errors}' if errors else ''), uuids,
        )  # fmt: skip
        tell('potentials', done, len(models))
    if lines:
        (folder / 'MD5SUMS').write_text(''.join(lines), encoding='utf-8')
        yield Taken(folder / 'MD5SUMS', 'md5 of the models, for `md5sum -c MD5SUMS`')


def structures(selection: Selection) -> Iterator[tuple[orm.StructureData, list[str]]]:
    """Yield each structure once, with the uuids of all nodes of that content."""
    same: dict[str | None, list[orm.StructureData]] = {}
    for node in selection.nodes(orm.StructureData):
        same.setdefault(node.base.caching.get_hash() or node.uuid, []).append(node)
    for nodes in same.values():
        yield nodes[0], [node.uuid for node in nodes]


def write_structures(selection: Selection, folder: Path, tell: Tell) -> Iterator[Taken]:
    """Write crystals, cells and glasses as CIF; what is not periodic in space as XYZ."""
    found = list(structures(selection))
    folder.mkdir(parents=True, exist_ok=True)
    for done, (node, uuids) in enumerate(found, start=1):
        periodic = all(node.pbc)
        target = folder / (selection.names[node.pk] + ('.cif' if periodic else '.xyz'))
        if periodic:
            target.write_text(f'# AiiDA node {node.uuid}\n{_cif(node)}', encoding='utf-8')
        else:
            node.get_ase().write(target, format='xyz')
        maker = node.creator
        made = f', by {maker.process_label}' if maker is not None else ', given'
        yield Taken(target, f'{_formula(node)}, {len(node.sites)} atoms{made}', uuids)
        tell('structures', done, len(found))


def _formula(node: orm.StructureData) -> str:
    if node.is_alloy or node.has_vacancies:
        return str(node.get_formula())
    # Metals first, as in the names of frames and trajectories.
    return str(node.get_ase().symbols.formula.format('metal'))


def _cif(node: orm.StructureData) -> str:
    """Return a structure without symmetry, with eight digits of each coordinate."""
    from pymatgen.io.cif import CifWriter

    return str(CifWriter(node.get_pymatgen_structure(), significant_figures=8))


def cubes(selection: Selection) -> list[orm.SinglefileData]:
    """Return the density maps: cube files of the analyses."""
    query = {'attributes.filename': {'like': '%.cube'}}
    return list(filter(has_file, selection.nodes(orm.SinglefileData, **query)))


def write_densities(selection: Selection, folder: Path, tell: Tell) -> Iterator[Taken]:
    """Write the density maps as they were computed."""
    found = cubes(selection)
    folder.mkdir(parents=True, exist_ok=True)
    for done, node in enumerate(found, start=1):
        target = folder / f'{selection.names[node.pk]}.cube'
        with node.open(mode='rb') as source, target.open('wb') as copy:
            shutil.copyfileobj(source, copy)
        yield Taken(target, 'number density in Å⁻³ on a grid; lengths in bohr, as cube files have them', [node.uuid])
        tell('densities', done, len(found))


def write_trajectories(selection: Selection, folder: Path, tell: Tell, stride: int = 1) -> Iterator[Taken]:
    """Write each trajectory as XTC, and its first frame as PDB, which names the atoms."""
    found = list(filter(has_file, selection.nodes(MdTrajectoryData)))
    folder.mkdir(parents=True, exist_ok=True)
    for done, node in enumerate(found, start=1):
        target = folder / f'{selection.names[node.pk]}.xtc'
        with node.open_trajectory() as opened:
            written = export_trajectory(opened, target, 'xtc', stride=stride)
        frames = -(-node.n_frames // stride)
        regular = frames > 1 and node.stride_steps is not None
        between = f', {node.stride_steps * stride * node.timestep_ps:g} ps apart' if regular else ''
        holds = f'{frames} frames of {node.formula}{between}, unwrapped; {engine_text(node.engine)}'
        yield Taken(target, holds, [node.uuid])
        for path in written[1:]:
            yield Taken(path, 'its first frame, which names the atoms', [node.uuid])
        tell('trajectories', done, len(found))


def write_reports(selection: Selection, folder: Path, tell: Tell) -> Iterator[Taken]:
    """Write the HTML page of each process that was asked for and that this package computes."""
    from aiida_softclay.report.page import write_report

    found = [node for node in selection.roots if isinstance(node, orm.ProcessNode)]
    folder.mkdir(parents=True, exist_ok=True)
    for done, node in enumerate(found, start=1):
        target = folder / (f'{words(node.process_label)}.html' if len(found) == 1 else f'{node.uuid}.html')
        tell('pages', done, len(found))
        try:
            write_report(node, target)
        except ValueError:
            # No process of this package: there is nothing to put on a page.
            continue
        yield Taken(target, 'figures, numbers, provenance and inputs as one page, for any browser', [node.uuid])


def has_file(node: orm.SinglefileData) -> bool:
    """Return whether the file of a node is in this profile; it is not where an import came without it."""
    return missing_file(node) is None


def files_elsewhere(part: str, selection: Selection) -> int:
    """Return how many nodes, whose files a part consists of, are without their file."""
    kinds = {'frames': FramesData, 'potentials': PotentialData, 'trajectories': MdTrajectoryData}
    if part not in kinds:
        return 0
    return sum(not has_file(node) for node in selection.nodes(kinds[part]))


def trajectories_problem() -> str | None:
    """Return why trajectories cannot be written here, or ``None``."""
    try:
        import MDAnalysis.lib.formats.libmdaxdr  # noqa: F401
    except ImportError:
        return 'XTC is written by MDAnalysis: `pip install MDAnalysis`, or leave out the part `trajectories`'
    return None


def estimate(part: str, selection: Selection, stride: int = 1) -> tuple[int, int]:
    """Return how many items a part has, and about how many bytes they take."""
    if part == 'frames':
        found = [node for node, _ in frames_nodes(selection)]
        atoms = sum(node.n_frames * sum(node.base.attributes.get('n_atoms_range')) // 2 for node in found)
        return len(found), atoms * (NPY_BYTES + EXTXYZ_BYTES)
    if part == 'potentials':
        models = potentials(selection)
        return len(models), sum(node.base.repository.get_object_size(node.filename) for node in models)
    if part == 'structures':
        cells = [node for node, _ in structures(selection)]
        return len(cells), sum(len(node.sites) for node in cells) * CIF_BYTES
    if part == 'densities':
        maps = cubes(selection)
        return len(maps), sum(node.base.repository.get_object_size(node.filename) for node in maps)
    if part == 'trajectories':
        runs = list(filter(has_file, selection.nodes(MdTrajectoryData)))
        return len(runs), sum(node.n_frames * node.n_atoms for node in runs) * XTC_BYTES // stride
    raise ValueError(f'`{part}` is no part with an estimate')
