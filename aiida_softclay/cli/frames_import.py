"""What ``softclay frames import`` and ``build`` do with what they are given: find, import, go on after failures."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from aiida.cmdline.utils import echo


class Job(NamedTuple):
    """One output to import: what it is called, and the function that does it."""

    name: str
    run: Any


def import_jobs(
    targets: Sequence[str], recursive: bool, label: str | None, parameters: dict[str, Any]
) -> tuple[list[Job], list[tuple[str, str]]]:
    """Return what to import and what cannot be, with the reason.

    Parameters
    ----------
    targets : sequence of str
        Files, folders, patterns, or keys of nodes.
    recursive : bool
        Whether folders below are looked into.
    label : str, optional
        Label of all frames; by default the folder below the target, or the label of the calculation.
    parameters : dict
        The other options of the import.
    """
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    from aiida_softclay.calcfunctions.vasp_import import folders_of, import_file, import_folder
    from aiida_softclay.data.frames_import import find_outputs
    from aiida_softclay.data.vasp_steps import VaspOutputError

    jobs: list[Job] = []
    failures: list[tuple[str, str]] = []
    for target in targets:
        # A pattern in quotes comes with the ~ that the shell would have replaced.
        place = Path(target).expanduser()
        paths = [place] if place.exists() else [Path(found) for found in glob.glob(str(place), recursive=True)]
        for path in sorted(paths):
            for output in find_outputs([path], recursive):
                own = parameters | {'label': label or label_of_path(output, path)}
                jobs.append(Job(str(output), partial(import_file, output, own)))
        if paths:
            continue
        try:
            node = orm.load_node(target)
            for own_label, folder in folders_of(node):
                name = f'{target} (folder {folder.pk})'
                jobs.append(Job(name, partial(import_folder, folder, parameters | {'label': label or own_label})))
        except (NotExistent, MultipleObjectsError, VaspOutputError, ValueError) as exception:
            reason = 'no such file or folder, and no node' if isinstance(exception, NotExistent) else str(exception)
            failures.append((target, reason))
    # Several patterns may name one file.
    return list({job.name: job for job in jobs}.values()), failures


def label_of_path(output: Path, root: Path) -> str:
    """Return the folder of an output below the folder that was named, or the name of that folder."""
    folder = output.parent
    below = folder.relative_to(root) if root.is_dir() else Path()
    return str(below) if below.parts else folder.resolve().name


def import_all(jobs: Sequence[Job], failures: list[tuple[str, str]], group: Any | None) -> list[Any]:
    """Run the imports with a progress bar; what fails is added to ``failures``."""
    from aiida.common.exceptions import AiidaException

    done, lines = [], []
    with click.progressbar(jobs, label='importing', show_pos=True, item_show_func=_shown) as bar:
        for job in bar:
            try:
                item = job.run()
            except (AiidaException, ValueError, OSError) as exception:
                failures.append((job.name, str(exception)))
                continue
            done.append(item)
            if group is not None:
                group.add_nodes([item.frames])
            lines.append(f'<{item.frames.pk}> {item.frames.description}{" (known)" if item.known else ""}: {job.name}')
    for line in lines:
        echo.echo(line)
    return done


def _shown(job: Job | None) -> str:
    return '' if job is None else job.name[-60:]


def frames_of(nodes: Iterable[Any]) -> dict[str, Any]:
    """Return the frames among nodes, and those that processes among them gave out, each once, with a name."""
    from aiida.common.links import LinkType
    from aiida.orm import ProcessNode

    from aiida_softclay.data.frames import FramesData

    found: dict[int, Any] = {}
    for node in nodes:
        if isinstance(node, FramesData):
            found[node.pk] = node
        elif isinstance(node, ProcessNode):
            for kind in (LinkType.RETURN, LinkType.CREATE):
                links = node.base.links.get_outgoing(node_class=FramesData, link_type=kind)
                found |= {link.node.pk: link.node for link in links.all()}
        else:
            echo.echo_critical(f'{node} is neither frames nor a process')
    return {f'frames_{pk}': node for pk, node in sorted(found.items())}
