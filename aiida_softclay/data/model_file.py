"""Tell whether a file is a DeePMD model, without loading it: the backends' containers, recognised by structure."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Extension → backend, as DeePMD-kit chooses it.
BACKENDS = {
    '.pb': 'tensorflow',
    '.pth': 'pytorch',
    '.pt': 'pytorch',
    '.pt2': 'pytorch-exportable',
    '.pte': 'pytorch-exportable',
    '.dp': 'dpmodel',
    '.hlo': 'jax',
    '.jax': 'jax',
}

HDF5_MAGIC = b'\x89HDF\r\n\x1a\n'


class ModelFileError(ValueError):
    """The file is not a model file of the kind its extension says."""


@dataclass(frozen=True)
class ModelFacts:
    """What a model file says about itself; None where the format does not tell without loading it."""

    backend: str
    type_map: tuple[str, ...] | None = None
    rcut: float | None = None
    compressed: bool | None = None


def inspect_model(path: str | Path, filename: str | None = None) -> ModelFacts:
    """Check a model file and return what it says about itself.

    Parameters
    ----------
    path : path
        The file.
    filename : str, optional
        Its name, if the path's own does not carry the extension.

    Raises
    ------
    ModelFileError
        If the extension is unknown or the content does not fit it.
    """
    path = Path(path)
    name = filename or path.name
    suffix = Path(name).suffix
    if suffix not in BACKENDS:
        raise ModelFileError(
            f'{name} has no extension of a DeePMD model ({", ".join(BACKENDS)}), by which the backend is chosen'
        )
    if path.stat().st_size == 0:
        raise ModelFileError(f'{name} is empty')
    if suffix == '.pb':
        return _inspect_graph(path, name)
    if suffix in ('.pth', '.pt', '.pt2', '.pte'):
        _check_archive(path, name)
    else:
        with path.open('rb') as handle:
            if handle.read(8) != HDF5_MAGIC:
                raise ModelFileError(f'{name} is not a {BACKENDS[suffix]} model: it is not an HDF5 file')
    return ModelFacts(BACKENDS[suffix])


def _check_archive(path: Path, name: str) -> None:
    if not zipfile.is_zipfile(path):
        raise ModelFileError(f'{name} is not a PyTorch model: it is not a zip archive')
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
    if not any(member.endswith(('.pkl', '.json', '.so', '.o', '/version', '/archive_format')) for member in members):
        raise ModelFileError(f'{name} is a zip archive, but not one that PyTorch wrote')


def _varint(handle: BinaryIO) -> int | None:
    """Read a protobuf varint; None at the end of the file."""
    value = shift = 0
    while True:
        byte = handle.read(1)
        if not byte:
            if shift:
                raise ModelFileError('truncated')
            return None
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
        shift += 7
        if shift > 63:
            raise ModelFileError('not a protobuf')


def _fields(handle: BinaryIO, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, length) of the fields up to position ``end``; scalars have length 0."""
    while handle.tell() < end:
        tag = _varint(handle)
        if tag is None:
            return
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ModelFileError('not a protobuf')
        if wire == 0:
            if _varint(handle) is None:
                raise ModelFileError('truncated')
            yield number, handle.tell(), 0
            continue
        if wire == 2:
            length = _varint(handle)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ModelFileError('not a protobuf')
        start = handle.tell()
        if length is None or start + length > end:
            raise ModelFileError('truncated')
        yield number, start, length
        handle.seek(start + length)


def _read(handle: BinaryIO, start: int, length: int) -> bytes:
    handle.seek(start)
    return handle.read(length)


def _inspect_graph(path: Path, name: str) -> ModelFacts:
    """Walk a TensorFlow GraphDef (``node`` = 1, ``NodeDef.name`` = 1, ``op`` = 2, ``attr`` = 5) by its lengths."""
    size = path.stat().st_size
    nodes = 0
    found: dict[str, tuple[int, int]] = {}
    compressed = False
    try:
        with path.open('rb') as handle:
            for number, start, length in _fields(handle, size):
                if number != 1:
                    continue
                nodes += 1
                node_name, operation = '', ''
                for inner, at, width in _fields_of(handle, start, length):
                    if inner == 1:
                        node_name = _read(handle, at, width).decode('utf-8')
                    elif inner == 2:
                        operation = _read(handle, at, width).decode('utf-8')
                compressed = compressed or operation.startswith('TabulateFusion')
                if node_name in ('model_attr/tmap', 'descrpt_attr/rcut'):
                    found[node_name] = (start, length)
            if not nodes:
                raise ModelFileError('without nodes')
            if 'model_attr/tmap' not in found:
                raise ModelFileError('a graph without the node model_attr/tmap that every DeePMD model has')
            text = _constant(handle, *found['model_attr/tmap'], text=True)
            type_map = tuple(str(text).split())
            rcut = _constant(handle, *found['descrpt_attr/rcut'], text=False) if 'descrpt_attr/rcut' in found else None
    except (ModelFileError, UnicodeDecodeError) as exception:
        raise ModelFileError(f'{name} is not a frozen DeePMD graph: {exception}') from None
    return ModelFacts('tensorflow', type_map, None if rcut is None else float(rcut), compressed)


def _fields_of(handle: BinaryIO, start: int, length: int) -> list[tuple[int, int, int]]:
    handle.seek(start)
    return list(_fields(handle, start + length))


def _constant(handle: BinaryIO, start: int, length: int, text: bool) -> str | float:
    """Return the scalar of a Const node: attr (5) 'value' → AttrValue.tensor (8) → string_val (8) or numbers."""
    for number, at, width in _fields_of(handle, start, length):
        if number != 5:
            continue
        entry = _fields_of(handle, at, width)
        if not any(inner == 1 and _read(handle, a, w) == b'value' for inner, a, w in entry):
            continue
        for inner, a, w in entry:
            if inner != 2:
                continue
            for kind, b, v in _fields_of(handle, a, w):
                if kind == 8:
                    return _scalar(handle, b, v, text)
    raise ModelFileError('a constant without value')


def _scalar(handle: BinaryIO, start: int, length: int, text: bool) -> str | float:
    """Read a TensorProto: string_val = 8, float_val = 5, double_val = 6, tensor_content = 4."""
    for number, at, width in _fields_of(handle, start, length):
        if text and number == 8:
            return _read(handle, at, width).decode('utf-8')
        if not text and number in (4, 5, 6) and width in (4, 8):
            return float(struct.unpack('<f' if width == 4 else '<d', _read(handle, at, width))[0])
    raise ModelFileError('a constant of unexpected type')
