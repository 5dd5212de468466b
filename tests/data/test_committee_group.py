"""Committees keep their invariants."""

from __future__ import annotations

import pytest
from aiida.orm import Int, load_group
from frame_samples import graph

from aiida_softclay.data.committee import Committee
from aiida_softclay.data.potential import PotentialData


@pytest.fixture
def potential(tmp_path, aiida_profile):
    """Return a factory of potentials that differ in their cutoff."""

    def make(rcut, type_map='Li Cl'):
        path = tmp_path / f'{rcut}{type_map}.pb'
        path.write_bytes(graph(type_map, rcut))
        return PotentialData(file=path)

    return make


def test_create_and_load(potential):
    committee = Committee.create('round 1', [potential(6.0), potential(6.1), potential(6.2)])
    loaded = load_group('round 1')
    assert isinstance(loaded, Committee)
    assert loaded.type_map == ['Li', 'Cl']
    assert [member.rcut for member in loaded.potentials] == [6.0, 6.1, 6.2]
    assert committee.type_string == 'softclay.committee'
    with pytest.raises(ValueError, match="a committee 'round 1' already"):
        Committee.create('round 1', [potential(6.0), potential(6.1)])


def test_refusals(potential):
    with pytest.raises(ValueError, match='at least two'):
        Committee.create('a', [potential(6.0)])
    with pytest.raises(ValueError, match='type maps differ: Cl Li; Li Cl'):
        Committee.create('a', [potential(6.0), potential(6.1, 'Cl Li')])
    with pytest.raises(ValueError, match='same model'):
        Committee.create('a', [potential(6.0), potential(6.0)])
    with pytest.raises(ValueError, match='not Int'):
        Committee.create('a', [potential(6.0), Int(1)])
    assert Committee.collection.find(filters={'label': 'a'}) == []


def test_members_come_and_go(potential):
    committee = Committee.create('round 2', [potential(6.0), potential(6.1)])
    with pytest.raises(ValueError, match='type maps differ'):
        committee.add_nodes(potential(6.2, 'Cl Li').store())
    with pytest.raises(ValueError, match='same model'):
        committee.add_nodes(potential(6.1).store())
    committee.add_nodes([committee.potentials[0], potential(6.3).store()])
    assert len(committee.potentials) == 3
    committee.remove_nodes(committee.potentials[0])
    with pytest.raises(ValueError, match='at least two'):
        committee.remove_nodes(committee.potentials[0])
    with pytest.raises(ValueError, match='at least two'):
        committee.clear()
    assert len(committee.potentials) == 2
