"""What the HDF5 data nodes share: a constant file name, a hash of the content and access without loading the file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from aiida.common.exceptions import ValidationError
from aiida.orm import SinglefileData
from aiida.orm.implementation.utils import clean_value
from aiida.orm.nodes.caching import NodeCaching

from .left_out import missing_file


class ContentCaching(NodeCaching):
    """Caching that compares the content, so that another HDF5 layout of the same arrays is the same node."""

    def get_objects_to_hash(self) -> dict[str, Any]:
        """Return what identifies the node: its class and its content hash."""
        return {'class': str(self._node.__class__), 'content_hash': self._node.base.attributes.get('content_hash')}


class Hdf5Data(SinglefileData):
    """A single HDF5 file of constant name whose summary is in the attributes.

    Subclasses give the file name and :meth:`_summarise`, which reads the attributes, among them ``content_hash``, from
    a file.
    """

    FILE_NAME: ClassVar[str] = 'data.h5'
    _CLS_NODE_CACHING = ContentCaching

    @classmethod
    def from_file(cls, file: str | Path | BinaryIO, **kwargs: Any) -> Any:
        """Make a node from a file, under any name and relative or absolute path, or an open binary file."""
        return cls(file=file, **kwargs)

    def set_file(self, file: str | Path | BinaryIO, filename: str | Path | None = None) -> None:  # type: ignore[override]
        """Put the file into the node under its constant name and read its attributes.

        Raises
        ------
        aiida.common.exceptions.ValidationError
            If the file is not of the expected kind.
        """
        if isinstance(file, (str, Path)):
            file = Path(file).resolve()
            if not file.is_file():
                raise ValidationError(f'there is no file {file}')
        super().set_file(file, filename=self.FILE_NAME)
        summary = self._checked_summary()
        self.base.attributes.set_many(summary)
        self._read = (self._file_mark(), summary)

    def _file_mark(self) -> tuple[int, int, int] | None:
        """Return what changes when the file of the repository is written or replaced; None if it is no plain file."""
        with self.base.repository.open(self.FILE_NAME, mode='rb') as handle:
            name = getattr(handle, 'name', None)
            if not isinstance(name, (str, Path)) or not Path(name).is_file():
                return None
            status = Path(name).stat()
            return status.st_ino, status.st_size, status.st_mtime_ns

    def _checked_summary(self) -> dict[str, Any]:
        """Read the summary of the file in the repository."""
        try:
            with self._local_file() as path:
                # As AiiDA will give it back: its database keeps 14 digits of a float.
                return clean_value(self._summarise(path))
        except (ValueError, OSError) as exception:
            raise ValidationError(f'{self.FILE_NAME} cannot be used: {exception}') from exception

    @staticmethod
    def _summarise(path: Path) -> dict[str, Any]:
        """Return the attributes of a file."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _local_file(self) -> Iterator[Path]:
        """Yield a path of the file for reading: the repository's own file where there is one, else a copy.

        A loose object of the repository is a plain file that is never changed, so HDF5 can read it in place; packed
        objects are copied to a temporary file, block by block.

        Raises
        ------
        FileNotFoundError
            If the node was imported from an archive that had left its file out.
        """
        if problem := missing_file(self):
            raise FileNotFoundError(problem)
        with self.base.repository.open(self.FILE_NAME, mode='rb') as handle:
            name = getattr(handle, 'name', None)
            if isinstance(handle, io.BufferedReader) and isinstance(name, (str, Path)) and Path(name).is_file():
                yield Path(name)
                return
        with self.base.repository.as_path(self.FILE_NAME) as path:
            yield path

    def _validate(self) -> bool:
        super()._validate()
        if self.filename != self.FILE_NAME:
            raise ValidationError(f'the file must be named {self.FILE_NAME}, not {self.filename}')
        if 'content_hash' not in self.base.attributes.all:
            raise ValidationError('the node has no content: make it with from_file')
        return True

    def store(self) -> Any:
        """Store the node after checking that its attributes still describe its file."""
        if not self.is_stored:
            self._validate()
            # Reading a large file again costs seconds: that it was not written to since says the same.
            mark, summary = getattr(self, '_read', (None, None))
            if summary is None or mark is None or mark != self._file_mark():
                summary = self._checked_summary()
            for key, value in summary.items():
                if self.base.attributes.get(key, None) != value:
                    raise ValidationError(f'attribute {key!r} does not describe the file: the node was changed')
        return super().store()

    @property
    def content_hash(self) -> str:
        """SHA-256 of the content (not of the HDF5 bytes)."""
        return self.base.attributes.get('content_hash')
