"""Protocols: merging, overrides that exist and overrides that do not."""

from __future__ import annotations

import pytest

from aiida_softclay.workflows.protocol import ProtocolError, ProtocolMixin, leaves, recursive_merge


class Example(ProtocolMixin):
    """A protocol file given in the test."""

    @classmethod
    def _load_protocol_file(cls):
        return {
            'default_protocol': 'small',
            'free_overrides': ['anything'],
            'default_inputs': {'seed': 1, 'md': {'temperature_K': 300.0, 'steps': [1, 2]}, 'anything': {}},
            'protocols': {
                'small': {'description': 'small', 'md': {'temperature_K': 600.0}},
                'large': {'description': 'large'},
            },
            'descriptions': {'seed': 'seed'},
        }


def test_protocol_overrides_defaults_and_user_overrides_protocol():
    inputs = Example.get_protocol_inputs(overrides={'md': {'steps': [3]}, 'anything': {'goes': True}})
    assert inputs == {'seed': 1, 'md': {'temperature_K': 600.0, 'steps': [3]}, 'anything': {'goes': True}}
    assert Example.get_protocol_inputs('large')['md']['temperature_K'] == 300.0


def test_protocols_are_not_changed_by_their_users():
    Example.get_protocol_inputs()['md']['steps'].append(9)
    assert Example.get_protocol_inputs()['md']['steps'] == [1, 2]


def test_unknown_names_are_refused_by_name():
    with pytest.raises(ProtocolError, match='unknown protocol `huge`: choose from small, large'):
        Example.get_protocol_inputs('huge')
    with pytest.raises(ProtocolError, match=r'unknown override `md.temprature_K`.*temperature_K'):
        Example.get_protocol_inputs(overrides={'md': {'temprature_K': 1.0}})


def test_merge_and_leaves():
    assert recursive_merge({'a': {'b': 1, 'c': 2}}, {'a': {'c': 3}}) == {'a': {'b': 1, 'c': 3}}
    assert leaves({'a': {'b': 1, 'c': {}}, 'd': [1]}) == ['a.b', 'a.c', 'd']
