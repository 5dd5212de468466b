"""A committee: potentials of one training round whose disagreement measures their error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiida.orm import Group

from .potential import PotentialData


class Committee(Group):
    """A group of at least two different potentials with one type map.

    Make one with :meth:`create`.
    """

    @classmethod
    def create(cls, label: str, potentials: Sequence[PotentialData], **kwargs: Any) -> Committee:
        """Store a committee of stored or unstored potentials.

        Raises
        ------
        ValueError
            If there are fewer than two, two are the same model, the type maps differ or the label is taken.
        """
        members = list(potentials)
        cls._check(members)
        if cls.collection.find(filters={'label': label}):
            raise ValueError(f'there is a committee {label!r} already: choose another label')
        for member in members:
            member.store()
        committee = cls(label=label, **kwargs)
        committee.store()
        Group.add_nodes(committee, members)
        return committee

    @classmethod
    def get_or_create(cls, label: str, potentials: Sequence[PotentialData]) -> Committee:
        """Return the committee of that label if it has these members, else store one.

        For a step of a workchain, which is done again if its worker is killed inside it.

        Raises
        ------
        ValueError
            As for :meth:`create`, and if the committee of that label has other members.
        """
        for found in cls.collection.find(filters={'label': label}):
            if isinstance(found, cls) and {node.uuid for node in found.nodes} == {node.uuid for node in potentials}:
                return found
        return cls.create(label, potentials)

    @staticmethod
    def _check(members: Sequence[Any]) -> None:
        for member in members:
            if not isinstance(member, PotentialData):
                raise ValueError(f'a committee holds potentials, not {type(member).__name__}')
        if len(members) < 2:
            raise ValueError('a committee needs at least two potentials: one alone cannot disagree')
        maps = {tuple(member.type_map) for member in members}
        if len(maps) > 1:
            raise ValueError(f'the type maps differ: {"; ".join(" ".join(one) for one in sorted(maps))}')
        if len({member.md5 for member in members}) != len(members):
            raise ValueError('two members are the same model: their disagreement would be zero')

    @property
    def potentials(self) -> list[PotentialData]:
        """Members, ordered by primary key."""
        return sorted(self.nodes, key=lambda node: node.pk)

    @property
    def type_map(self) -> list[str]:
        """Type map of the members."""
        return self.potentials[0].type_map

    def add_nodes(self, nodes: Any) -> None:
        """Add potentials that keep the committee what it is.

        Raises
        ------
        ValueError
            As for :meth:`create`; nothing is added then.
        """
        new = list(nodes) if isinstance(nodes, (list, tuple)) else [nodes]
        present = self.potentials
        uuids = {member.uuid for member in present}
        new = [node for node in new if node.uuid not in uuids]
        self._check(present + new)
        super().add_nodes(new)

    def remove_nodes(self, nodes: Any) -> None:
        """Remove potentials, leaving at least two.

        Raises
        ------
        ValueError
            If fewer than two would be left.
        """
        gone = list(nodes) if isinstance(nodes, (list, tuple)) else [nodes]
        uuids = {node.uuid for node in gone}
        if len([member for member in self.potentials if member.uuid not in uuids]) < 2:
            raise ValueError('a committee needs at least two potentials: delete the group instead')
        super().remove_nodes(gone)

    def clear(self) -> None:
        """Refuse to empty the committee.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError('a committee needs at least two potentials: delete the group instead')
