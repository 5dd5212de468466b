"""Folders on a computer that jobs read where they are: those of other jobs, and those in which files were kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from aiida import orm

#: Work directories of jobs, and copies of their files that survive the cleaning of these.
FOLDERS = (orm.RemoteData, orm.RemoteStashFolderData)


def folder_path(node: orm.RemoteData | orm.RemoteStashFolderData) -> PurePosixPath:
    """Return the path of a folder on its computer."""
    if isinstance(node, orm.RemoteStashFolderData):
        return PurePosixPath(node.target_basepath)
    return PurePosixPath(node.get_remote_path())


def computer_problem(code: orm.AbstractCode | None, folders: Mapping[str, Any], what: str) -> str | None:
    """Return a sentence if a folder is on another computer than the code that is to read it, or ``None``.

    Parameters
    ----------
    code : Code, optional
        What reads the folders.
    folders : mapping of str to RemoteData or RemoteStashFolderData
        Folders by name.
    what : str
        What they hold, for the sentence, with its verb: ``the dumps of {name} lie``.
    """
    computer = code.computer if code is not None else None
    for name, node in folders.items():
        if computer is not None and node.computer is not None and node.computer.pk != computer.pk:
            return (
                f'{what.format(name=name)} on {node.computer.label}, the job would run on {computer.label}: take a '
                'code of that computer'
            )
    return None
