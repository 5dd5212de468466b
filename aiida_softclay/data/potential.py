"""A machine-learned potential as an AiiDA node."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from aiida.common.exceptions import ValidationError
from aiida.common.typing import FilePath
from aiida.orm import SinglefileData
from aiida.orm.nodes.caching import NodeCaching
from ase.data import atomic_numbers

from .left_out import missing_file
from .model_file import ModelFacts, ModelFileError, inspect_model


def missing_model(potential: PotentialData) -> str | None:
    """Return what to say if the model file of a potential is not in this profile; ``None`` if it is."""
    problem = missing_file(potential)
    return problem and (
        f'{problem}. The part `potentials` of an export has the model as a file: a new node, PotentialData(FILE), '
        f'computes the same if its md5 is {potential.md5}'
    )


def validate_model(potential: PotentialData | None, _: Any) -> str | None:
    """Return what to say if a potential that is the input of a process lacks its model: a validator of ports."""
    return None if potential is None else missing_model(potential)


class PotentialCaching(NodeCaching):
    """Caching by what a simulation sees: the file, its extension (it chooses the backend) and the type map."""

    def get_objects_to_hash(self) -> dict[str, Any]:
        """Return what identifies the potential; how well it was tested or its training seed change no simulation."""
        attributes = self._node.base.attributes
        return {
            'class': str(self._node.__class__),
            'suffix': Path(attributes.get('filename')).suffix,
            'type_map': attributes.get('type_map'),
            'md5': attributes.get('md5'),
        }


class PotentialData(SinglefileData):
    """A DeePMD model file with what is needed to use and to judge it.

    Parameters
    ----------
    file : path or binary file object
        The model; its extension (or ``filename``'s) chooses DeePMD's backend and is kept.
    filename : str, optional
        Name in the node, with extension; by default the file's own.
    type_map : sequence of str
        Chemical symbols in the order of the model's types; read from the model if the format tells and none is given.
    rcut : float
        Cutoff radius, Å; as the type map.
    backend : str, optional
        Checked against the extension.
    version : str
        Version of DeePMD-kit that made it.
    compressed : bool, optional
        Whether the model is compressed; read from the model if the format tells.
    test_rmse : dict, optional
        Errors on the test set: name (with unit) → number.
    seed : int, optional
        Seed of the training.
    labels : dict, optional
        Engine record of the frames it was fitted to (program, version, model or functional).
    verdict : dict, optional
        How it was judged: ``passed`` (True, False, or None if no gate was set), ``gate`` (limits), and what it was
        trained and tested on. Fixed when the node is stored, as everything else.
    """

    _CLS_NODE_CACHING = PotentialCaching

    def __init__(
        self,
        file: str | Path | BinaryIO | None = None,
        filename: str | None = None,
        type_map: Sequence[str] | None = None,
        rcut: float | None = None,
        backend: str | None = None,
        version: str = '',
        compressed: bool | None = None,
        test_rmse: dict[str, float] | None = None,
        seed: int | None = None,
        labels: dict[str, Any] | None = None,
        verdict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if file is None:
            raise ValidationError('a potential needs its model file')
        if isinstance(file, (str, Path)):
            file = Path(file).resolve()
            if not file.is_file():
                raise ValidationError(f'there is no file {file}')
        super().set_file(file, filename=filename)
        facts = self._inspect()
        if backend is not None and backend != facts.backend:
            raise ValidationError(
                f'{self.filename} is a {facts.backend} model by its extension, but backend says {backend!r}'
            )
        self.base.attributes.set_many(
            {
                'backend': facts.backend,
                'version': version,
                'md5': self._md5(),
                'type_map': self._checked_type_map(type_map, facts),
                'rcut': self._checked_rcut(rcut, facts),
                'compressed': bool(facts.compressed if compressed is None else compressed),
                'seed': seed,
                'labels': dict(labels) if labels else None,
                'verdict': self._checked_verdict(verdict),
            }
        )
        self.test_rmse = test_rmse

    def _inspect(self) -> ModelFacts:
        try:
            with self.as_path() as path:
                return inspect_model(path, self.filename)
        except ModelFileError as exception:
            raise ValidationError(str(exception)) from exception

    def _md5(self) -> str:
        # A fingerprint that users compare with `md5sum`, not a protection.
        digest = hashlib.md5(usedforsecurity=False)
        with self.open(mode='rb') as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()

    @staticmethod
    def _checked_type_map(given: Sequence[str] | None, facts: ModelFacts) -> list[str]:
        if given is None:
            if facts.type_map is None:
                raise ValidationError('give the type_map: this model format does not tell it')
            given = facts.type_map
        if isinstance(given, str) or not len(given):
            raise ValidationError("type_map must be a list of chemical symbols, for example ['Li', 'Cl']")
        symbols = [str(symbol) for symbol in given]
        unknown = [symbol for symbol in symbols if atomic_numbers.get(symbol, 0) < 1]
        if unknown:
            raise ValidationError(f'type_map names unknown elements: {", ".join(unknown)}')
        if len(set(symbols)) != len(symbols):
            raise ValidationError(f'type_map names an element twice: {", ".join(symbols)}')
        if facts.type_map is not None and tuple(symbols) != facts.type_map:
            raise ValidationError(
                f'type_map is {", ".join(symbols)}, but the model itself says {", ".join(facts.type_map)}'
            )
        return symbols

    @staticmethod
    def _checked_rcut(given: float | None, facts: ModelFacts) -> float:
        if given is None:
            if facts.rcut is None:
                raise ValidationError('give rcut, the cutoff radius in Å: this model does not tell it')
            given = facts.rcut
        rcut = float(given)
        if not math.isfinite(rcut) or rcut <= 0:
            raise ValidationError(f'rcut must be a positive length in Å, not {given}')
        if facts.rcut is not None and abs(facts.rcut - rcut) > 1e-3:
            raise ValidationError(f'rcut is {rcut:g} Å, but the model itself says {facts.rcut:g} Å')
        return rcut

    @staticmethod
    def _checked_verdict(verdict: dict[str, Any] | None) -> dict[str, Any] | None:
        if verdict is None:
            return None
        passed, gate = verdict.get('passed'), verdict.get('gate')
        if passed not in (True, False, None):
            raise ValidationError(f'verdict.passed is {passed!r}: give true, false, or null where no gate was set')
        if (passed is None) != (gate is None):
            raise ValidationError('a verdict has both, the limits (`gate`) and whether they were kept (`passed`)')
        return dict(verdict)

    def __repr__(self) -> str:
        types = ' '.join(self.base.attributes.get('type_map', []))
        return f'<{self.__class__.__name__}: {self.filename} for {types}, uuid: {self.uuid} (pk: {self.pk})>'

    def _validate(self) -> bool:
        super()._validate()
        facts = self._inspect()
        self._checked_type_map(self.type_map, facts)
        self._checked_rcut(self.rcut, facts)
        return True

    def store(self) -> PotentialData:
        """Store the node after checking that its file is the one it was made from."""
        if not self.is_stored and self._md5() != self.md5:
            raise ValidationError('the md5 of the node is not that of its file: the node was changed')
        return super().store()

    @contextlib.contextmanager
    def open(self, path: FilePath | None = None, mode: Any = 'r') -> Iterator[Any]:
        """Yield the open model file.

        Raises
        ------
        FileNotFoundError
            If the node was imported from an archive that had left its file out; the message says where it is.
        """
        self._check_file()
        with super().open(self.filename if path is None else path, mode=mode) as handle:
            yield handle

    @contextlib.contextmanager
    def as_path(self) -> Iterator[Path]:
        """Yield a path of the model under its own name.

        Raises
        ------
        FileNotFoundError
            As for :meth:`open`.
        """
        self._check_file()
        with super().as_path() as path:
            yield path

    def _check_file(self) -> None:
        if problem := missing_model(self):
            raise FileNotFoundError(problem)

    @contextlib.contextmanager
    def open_model(self) -> Iterator[Path]:
        """Yield a path of the model under its own name, for programs that read files."""
        with self.as_path() as path:
            yield path

    def supports(self, elements: Iterable[str]) -> bool:
        """Return whether the model knows all of these chemical symbols."""
        return not self.missing_elements(elements)

    def missing_elements(self, elements: Iterable[str]) -> list[str]:
        """Return those of these chemical symbols that the model does not know, sorted."""
        return sorted(set(elements) - set(self.type_map))

    @property
    def type_map(self) -> list[str]:
        """Chemical symbols in the order of the model's types."""
        return self.base.attributes.get('type_map')

    @property
    def rcut(self) -> float:
        """Cutoff radius, Å."""
        return self.base.attributes.get('rcut')

    @property
    def model_backend(self) -> str:
        """DeePMD backend (attribute ``backend``; the property of that name is AiiDA's storage)."""
        return self.base.attributes.get('backend')

    @property
    def version(self) -> str:
        """Version of DeePMD-kit that made it."""
        return self.base.attributes.get('version')

    @property
    def compressed(self) -> bool:
        """Whether the model is compressed."""
        return self.base.attributes.get('compressed')

    @property
    def md5(self) -> str:
        """MD5 of the model file."""
        return self.base.attributes.get('md5')

    @property
    def seed(self) -> int | None:
        """Seed of the training."""
        return self.base.attributes.get('seed')

    @property
    def labels(self) -> dict[str, Any] | None:
        """Program, version, model or functional whose energies and forces it was fitted to."""
        return self.base.attributes.get('labels', None)

    @property
    def verdict(self) -> dict[str, Any] | None:
        """How it was judged: ``passed``, ``gate``, and what it was trained and tested on; None if it never was."""
        return self.base.attributes.get('verdict', None)

    @property
    def passed_gate(self) -> bool | None:
        """Whether its test errors were within the limits; None if it was not judged or no limits were set."""
        return (self.verdict or {}).get('passed')

    @property
    def test_rmse(self) -> dict[str, float] | None:
        """Errors on the test set."""
        return self.base.attributes.get('test_rmse')

    @test_rmse.setter
    def test_rmse(self, value: dict[str, float] | None) -> None:
        if value is not None:
            bad = [key for key, number in value.items() if not math.isfinite(number) or number < 0]
            if bad:
                raise ValidationError(f'test_rmse holds numbers that are no errors: {", ".join(bad)}')
            value = {key: float(number) for key, number in value.items()}
        self.base.attributes.set('test_rmse', value)
