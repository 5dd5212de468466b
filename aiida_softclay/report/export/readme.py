"""The README of a take-away: what is what, in which units, from which engine, and what to type to have it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm

from aiida_softclay.data.engine import engine_text
from aiida_softclay.data.left_out import BULK, LEFT_OUT_EXTRA
from aiida_softclay.report.export.plan import ArchivePlan
from aiida_softclay.report.export.selection import Selection

UNITS = """\
| quantity | unit |
| --- | --- |
| lengths, positions, cells | Å (cube files: bohr, XTC: nm, as these formats have them) |
| energies | eV |
| forces | eV/Å |
| virials of the frames | eV; extended XYZ: stress, eV/Å³, tension positive |
| times | ps |
| densities of the maps | Å⁻³ |
| numbers in the tables | in the column `unit`, or in the head of the column |
"""

ARCHIVE = """\
With aiida-softclay {version} installed, or another version whose AiiDA reads the archive:

```console
$ verdi profile setup core.sqlite_dos --profile-name take-away --email me@example.org --broker none --non-interactive
$ verdi -p take-away archive import archive.aiida
{look}
```

Keys (pk) are new in each profile, uuids stay. A profile that has the same study already keeps its nodes as they are.
`core.zeromq` instead of `none` lets the profile compute. To look and not to import:

```console
$ verdi profile setup core.sqlite_zip --profile-name look --filepath archive.aiida --email me@example.org --broker none --non-interactive
```
"""  # noqa: E501 - a command is one line

USES = {
    'frames': """\
## Frames

```python
import dpdata
from ase.io import read

systems = dpdata.MultiSystems.from_dir('frames/NAME/deepmd', '*', fmt='deepmd/npy')
images = read('frames/NAME/frames.extxyz', ':')  # energies in eV, forces in eV/Å, stress in eV/Å³
```

Folders `*_no_virial` hold frames without virials.
""",
    'potentials': """\
## Potentials

`md5sum -c MD5SUMS` in `potentials/` tells whether a model is the one that was used. In LAMMPS, with units metal:

```text
pair_style deepmd NAME.pb
pair_coeff * * {elements}
```

The extension chooses DeePMD-kit's backend: keep it.
""",
    'trajectories': """\
## Trajectories

```python
import MDAnalysis

universe = MDAnalysis.Universe('trajectories/NAME.pdb', 'trajectories/NAME.xtc')  # positions in Å, unwrapped
```
""",
}


def readme(
    selection: Selection, parts: Sequence[str], plan: ArchivePlan | None, files: Sequence[Mapping[str, Any]],
    warnings: Sequence[str], version: str,
) -> str:  # fmt: skip
    """Return the text of ``README.md``.

    Parameters
    ----------
    selection : Selection
        The nodes.
    parts : sequence of str
        The parts that were written.
    plan : ArchivePlan or None
        What the archive lacks; ``None`` without an archive.
    files : sequence of mapping
        ``path``, ``holds`` and ``part`` of what was written.
    warnings : sequence of str
        What a reader has to know.
    version : str
        Version of this package.
    """
    lines = [f'# {title(selection.roots)}', '']
    lines += [f'Taken from AiiDA with aiida-softclay {version}.', '']
    lines += [f'* {describe_root(node)}' for node in selection.roots]
    lines += ['', *(f'**{warning}**\n' for warning in warnings)]
    lines += ['## Engine and scale', '', *engines(selection), '']
    lines += ['## What is what', '', '| file | holds |', '| --- | --- |']
    lines += [f'| `{item["path"]}` | {_cell(item["holds"])} |' for item in files if item['holds']]
    lines += [
        '',
        '`manifest.json` lists every file with its size, sha256 and node; `sha256sum -c SHA256SUMS` checks all.',
    ]
    lines += ['', '## Units', '', UNITS]
    if 'archive' in parts:
        lines += ['## Load it into AiiDA', '', ARCHIVE.format(version=version, look='\n'.join(_look(selection)))]
    lines += [_filled(USES[part], selection) for part in parts if part in USES]
    if plan is not None:
        lines += left_out(plan)
    return '\n'.join(lines).rstrip() + '\n'


def _look(selection: Selection) -> list[str]:
    """Return what to type to see what was asked for, or what of it has ended."""
    there = [node for node in selection.roots if node.pk in selection.pks]
    if not there:
        return ['$ softclay -p take-away results']
    program = '$ softclay -p take-away'
    shown = [f'{program} results {node.uuid}' for node in there if isinstance(node, orm.ProcessNode)][:1]
    return [*shown, f'{program} trace {there[0].uuid}']


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')


def _filled(text: str, selection: Selection) -> str:
    if '{elements}' not in text:
        return text
    from aiida_softclay.data.potential import PotentialData

    node = next(selection.nodes(PotentialData), None)
    return text.format(elements=' '.join(node.type_map) if node is not None else 'Li Cl')


def title(roots: Sequence[orm.Node]) -> str:
    """Return what is taken, in a line."""
    first = roots[0]
    name = first.label or getattr(first, 'process_label', None) or type(first).__name__
    return name if len(roots) == 1 else f'{name} and {len(roots) - 1} more'


def describe_root(node: orm.Node) -> str:
    """Return what a node is, in a line."""
    what = getattr(node, 'process_label', None) or type(node).__name__
    text = f'{what} {node.uuid}, of {node.ctime:%Y-%m-%d %H:%M}'
    if node.label:
        text += f', “{node.label}”'
    if node.description:
        text += f': {node.description}'
    if isinstance(node, orm.ProcessNode):
        state = node.process_state.value if node.process_state else 'not started'
        text += f'; {state}' + (f' with exit code {node.exit_status}' if node.exit_status else '')
    return text


def engines(selection: Selection) -> list[str]:
    """Return who computed the numbers and the labels, and at which scale, from what the nodes say themselves."""
    found: dict[str, set[int]] = {}
    for node in selection.nodes(orm.Dict, **{'attributes.schema': {'like': 'softclay-results%'}}):
        context = node.base.attributes.get('context', {}) or {}
        engine = context.get('engine')
        if not engine or not isinstance(engine, dict | str):
            continue
        parts = [
            f'{name} {context[key]}'
            for key, name in (('mixture', 'mixture'), ('protocol', 'scale'))
            if context.get(key)
        ]
        line = f'* numbers: {engine_text(engine)}' + (f' ({", ".join(parts)})' if parts else '')
        found.setdefault(line, set())
        if isinstance(context.get('n_atoms'), int):
            found[line].add(context['n_atoms'])
    lines = [
        line + (f'; atoms: {", ".join(map(str, sorted(atoms)))}' if atoms else '') for line, atoms in found.items()
    ]
    from aiida_softclay.data.frames import FramesData

    labels = dict.fromkeys(engine_text(node.engine) or 'unknown' for node in selection.nodes(FramesData))
    lines += [f'* labels of the frames: {text}' for text in labels]
    lines = lines or ['* not stated by the nodes']
    return [*lines, '', 'What a model computed is that model’s number; it is no result of density functional theory.']


def left_out(plan: ArchivePlan) -> list[str]:
    """Return the section on what the archive lacks."""
    if not plan.left_out and not plan.before and not plan.texts:
        return ['## What the archive lacks', '', 'Nothing.']
    lines = [
        '## What the archive lacks', '',
        'These nodes are in the archive with all their attributes, but without a file; each has an extra '
        f'`{LEFT_OUT_EXTRA}`. The hash is that of the file. `manifest.json` says where the files are.', '',
        '| node | file | bytes | sha256 | why |', '| --- | --- | --- | --- | --- |',
    ]  # fmt: skip
    lines += [
        f'| {item.uuid} | `{item.path}` | {item.bytes} | {item.sha256} | {item.reason} |'
        for item in (*plan.left_out, *plan.before)
    ]
    if any(item.reason == BULK for item in plan.left_out):
        lines += ['', 'Bulk trajectories come along with `--with-trajectories`.']
    if plan.texts:
        lines += ['', f'{plan.texts} messages of logs or comments are left out: they held the text of a POTCAR.']
    return lines
