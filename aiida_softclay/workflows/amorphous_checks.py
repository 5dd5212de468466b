"""The checks and the picture of a glass, in the workchain that made it."""

from __future__ import annotations

from aiida import orm

from aiida_softclay.calcfunctions.cell_picture import picture_cell
from aiida_softclay.calcfunctions.glass_checks import check_glass
from aiida_softclay.workflows.endings import message_of


class GlassChecksMixin:
    """Check and draw the glass of a workchain that holds ``ctx.parameters``, ``ctx.initial`` and ``ctx.md``.

    Neither decides about the glass: what cannot be checked or drawn is reported, and the numbers stay.
    """

    def check_glass(self, summary: orm.Dict) -> None:
        """Compare the glass with its start, its crystals and experiment."""
        numbers = {row['name']: row for row in summary['numbers']}
        wishes = {
            'material': self.inputs.mixture.value,
            'cations': self.ctx.parameters['cations'],
            'temperature_K': self.ctx.parameters['equilibrate']['temperature_K'],
            'density_g_cm3': numbers['density']['value'],
            'density_error_g_cm3': numbers['density']['error'],
            'potential_energy_per_atom_eV': numbers['potential_energy_per_atom']['value'],
            'potential_energy_error_eV': numbers['potential_energy_per_atom']['error'],
            # Formula and size are of the checks' own making.
            'context': {key: value for key, value in summary['context'].items() if key not in ('formula', 'n_atoms')},
        }
        optional = {'molecules': self.outputs.get('labels'), 'references': self.outputs.get('energies')}
        _, node = check_glass.run_get_node(
            self.ctx.initial, self.ctx.md.outputs.structure, orm.Dict(wishes),
            **{name: value for name, value in optional.items() if value is not None},
            metadata={'call_link_label': 'check_glass'},
        )  # fmt: skip
        if node.is_finished_ok:
            self.out('checks', node.outputs.result)
        else:
            self.report(f'warning: the glass was not checked: {message_of(node)}')

    def draw_glass(self) -> None:
        """Draw the last snapshot by element."""
        structure = self.ctx.md.outputs.structure
        text = f'{self.inputs.mixture.value}, {len(structure.sites)} atoms'
        _, node = picture_cell.run_get_node(
            structure, orm.Dict({'title': text}), metadata={'call_link_label': 'picture_cell'}
        )
        if node.is_finished_ok:
            self.out('picture', node.outputs.result)
        else:
            self.report(f'warning: the glass was not drawn: {message_of(node)}')
