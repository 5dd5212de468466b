"""Recognise the text of a POTCAR by its content, so that a licensed pseudopotential never leaves the profile unseen.

VASP repeats titles and the first block of each POTCAR in OUTCAR, and titles in vasprun.xml; those are results, and are
published with calculations. What is looked for is what only a POTCAR has: the marks around its blocks, the names of its
tables and its end.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

#: Lines that VASP's POTCARs have and that VASP writes nowhere else; the last ones are the names of the tables.
MARKS = (
    b'parameters from PSCTR are',
    b'END of PSCTR-controll parameters',
    b'End of Dataset',
    b'gradient corrections used for XC',
    b'core charge-density (partial)',
    b'atomic pseudo charge-density',
    b'PAW radial sets',
    b'augmentation charges (non sperical)',
    b'uccopancies in atom',
    b'pspotential',
    b'aewavefunction',
    b'pswavefunction',
)
#: The first block of a POTCAR, and what VASP writes before it where it repeats that block in OUTCAR.
HEADER, REPEATED = b'VRHFIN', b'POTCAR:'
#: Title and number of valence electrons, the first two lines of a POTCAR: enough for a file that was cut short.
BEGINNING = re.compile(rb'\A\s*(?:PAW|US|NC|GW)\w*[ \t]+[A-Z][^\n]{0,80}\n\s*\d+\.\d*\s')
#: Files whose name alone says what they are: POTCAR, POTCAR_Li, POTCAR.gz.
FILE_NAME = re.compile(r'potcar(?![a-z])', re.IGNORECASE)
BLOCK = 4 << 20
#: Compressed files in compressed files are followed so deep.
DEPTH = 3
#: A zip file is read from its end: it is kept in memory up to here, and in a temporary file above, bytes.
IN_MEMORY = 64 << 20
OPENERS = ((b'\x1f\x8b', gzip.open), (b'BZh', bz2.open), (b'\xfd7zXZ\x00', lzma.open))
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError)


def is_potcar_name(path: str) -> bool:
    """Return whether a file is called POTCAR, with or without an ending.

    >>> [is_potcar_name(name) for name in ('POTCAR', 'inputs/POTCAR.gz', 'POTCAR_Li', 'potcars.py', 'OUTCAR')]
    [True, True, True, False, False]
    """
    return FILE_NAME.match(path.rpartition('/')[2]) is not None


def holds_potcar(stream: BinaryIO, depth: int = 0) -> bool:
    """Return whether a file holds the text of a POTCAR, itself or compressed (gzip, bzip2, xz, zip; a tar too).

    Parameters
    ----------
    stream : binary file object
        Read from where it stands to its end, block by block; what is in memory does not grow with the file.
    depth : int
        In how many compressed files it lies.

    Returns
    -------
    bool
        True also for what is compressed and cannot be read to its end: a damaged file may hold a POTCAR all the same,
        and leaving it out costs less than handing on what is licensed.
    """
    first = stream.read(BLOCK)
    if depth < DEPTH:
        for magic, opener in OPENERS:
            if first.startswith(magic):
                return _inside(opener, first, stream, depth)
        if first.startswith(b'PK\x03\x04'):
            return _inside_zip(first, stream, depth)
    return _scan(_blocks(first, stream))


def text_holds_potcar(text: str) -> bool:
    """Return whether a text (an attribute, a message of a log) holds the text of a POTCAR."""
    return _scan(iter([text.encode('utf-8', 'replace')]))


def _blocks(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    yield first
    while block := stream.read(BLOCK):
        yield block


def _scan(blocks: Iterator[bytes]) -> bool:
    """Look for the marks in consecutive pieces of a text."""
    # A mark may lie across two pieces.
    overlap = max(len(mark) for mark in MARKS) - 1
    tail, header, repeated, start = b'', False, False, True
    for block in blocks:
        if start and BEGINNING.match(block):
            return True
        start = False
        piece = tail + block
        if any(mark in piece for mark in MARKS):
            return True
        header = header or HEADER in piece
        repeated = repeated or REPEATED in piece
        tail = piece[-overlap:]
    return header and not repeated


class _Joined(io.RawIOBase):
    """The bytes that were read already, and then the rest of a stream."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._first, self._stream = io.BytesIO(first), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._first.read(len(buffer)) or self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _inside(opener: Any, first: bytes, stream: BinaryIO, depth: int) -> bool:
    if _scan(iter([first])):
        return True
    try:
        with opener(io.BufferedReader(_Joined(first, stream)), 'rb') as opened:
            return holds_potcar(opened, depth + 1)
    except UNREADABLE:
        return True


def _inside_zip(first: bytes, stream: BinaryIO, depth: int) -> bool:
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as copy:
        found = False
        for block in _blocks(first, stream):
            copy.write(block)
            found = found or any(mark in block for mark in MARKS)
        if found:
            return True
        copy.seek(0)
        try:
            with zipfile.ZipFile(copy) as archive:  # type: ignore[arg-type]
                for member in archive.infolist():
                    if is_potcar_name(member.filename) and member.file_size:
                        return True
                    with archive.open(member) as opened:
                        if holds_potcar(opened, depth + 1):  # type: ignore[arg-type]
                            return True
        except (*UNREADABLE, zipfile.BadZipFile):
            return True
    return False
