"""What is recognised as the text of a POTCAR, and what is not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest
from export_samples import OUTCAR, SECRET, potcar_text

from aiida_softclay.report.export.potcar import BLOCK, holds_potcar, is_potcar_name, text_holds_potcar

WHOLE = potcar_text('Li').encode()


def tarred(content, mode):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as tar:
        member = tarfile.TarInfo('job/input')
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def zipped(content, name='job/input'):
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('readme', 'nothing')
        archive.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    'content',
    [
        WHOLE,
        WHOLE * 3,
        b'a job script\n' + WHOLE,
        # Cut short: the first lines, the header, the tables, the end.
        WHOLE[:60],
        WHOLE[WHOLE.index(b'   VRHFIN') : WHOLE.index(b' END')],
        b'  pspotential\n' + b' 0.1E+01' * 5,
        b' augmentation charges (non sperical)\n',
        b' End of Dataset\n',
        # A mark across two blocks that are read, far from the beginning.
        b'x' * (BLOCK - 9) + b' End of Dataset' + b'x' * 100,
        gzip.compress(WHOLE),
        bz2.compress(WHOLE),
        lzma.compress(WHOLE),
        tarred(WHOLE, 'w'),
        tarred(WHOLE, 'w:gz'),
        tarred(WHOLE, 'w:bz2'),
        zipped(WHOLE),
        zipped(gzip.compress(WHOLE)),
        zipped(b'no mark of any kind', 'inputs/POTCAR'),
        gzip.compress(zipped(WHOLE)),
        # Damaged: what cannot be read to its end may hold one.
        gzip.compress(WHOLE)[:-8],
        zipped(WHOLE)[:-10],
        gzip.compress(WHOLE)[:12],
        b'PK\x03\x04' + b'\x00' * 40,
    ],
    ids=range(23),
)
def test_potcars_are_found(content):
    assert holds_potcar(io.BytesIO(content))


@pytest.mark.parametrize(
    'content',
    [
        b'',
        OUTCAR.encode(),
        gzip.compress(OUTCAR.encode()),
        b'<rc><c>  4</c><c>Li</c><c>7.0</c><c>1.0</c><c> PAW_PBE Li 17Jan2003</c></rc>\n',
        b'PAW_PBE Li 17Jan2003\nPAW_PBE Cl 06Sep2000\n',
        zipped(OUTCAR),
        bytes(range(256)) * 50,
    ],
    ids=range(7),
)
def test_results_of_vasp_are_no_potcars(content):
    assert not holds_potcar(io.BytesIO(content))


def test_placeholders_count_as_potcars():
    from aiida_softclay.calculations.potcars import placeholder_potcar

    assert holds_potcar(io.BytesIO(placeholder_potcar('Li').encode()))


def test_texts():
    assert text_holds_potcar(f'the file was:\n{potcar_text("Li")}')
    assert not text_holds_potcar('POTCAR of PAW_PBE Li 01Jan2001, md5 abc')
    assert SECRET in potcar_text('Li')


@pytest.mark.parametrize(
    ('path', 'known'),
    [('POTCAR', True), ('a/b/POTCAR', True), ('potcar.gz', True), ('POTCAR_Li_sv', True), ('POTCAR.Li', True),
     ('potcars.yaml', False), ('OUTCAR', False), ('POTCAR/INCAR', False), ('my_POTCAR', False)],
)  # fmt: skip
def test_names(path, known):
    assert is_potcar_name(path) == known


def test_memory_does_not_grow_with_the_file():
    import tracemalloc

    class Zeros(io.RawIOBase):
        left = 200 << 20

        def read(self, size=-1):
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    tracemalloc.start()
    assert not holds_potcar(Zeros())
    assert tracemalloc.get_traced_memory()[1] < 5 * BLOCK
    tracemalloc.stop()
