"""Labels, colours and ticks of figures, and the files that a process is drawn to."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner
from figure_samples import activation, table
from matplotlib import pyplot as plt

from aiida_softclay.calcfunctions.arrhenius import analyse_arrhenius
from aiida_softclay.calcfunctions.thermodynamics import screen_salts
from aiida_softclay.report.analysis_figures import analysis_panels
from aiida_softclay.report.figures import plot_curves, said_of
from aiida_softclay.report.style import element_colour, label, small_print, tidy_ticks, unit_of_rows

pytestmark = pytest.mark.usefixtures('aiida_profile')


def test_labels_units_and_colours():
    assert label('stress', 'GPa') == 'stress (GPa)'
    assert label('MSD', 'Å^2') == 'MSD (Å²)'
    assert label('share', '1') == 'share'
    # One element has one colour, dark enough for a line.
    assert element_colour('F') == '#ada430'
    assert element_colour('Cl') == '#009e73'
    assert unit_of_rows([{'unit': 'S/m'}, {'unit': 'S/m'}]) == 'S/m'
    with pytest.raises(ValueError, match='cannot share an axis'):
        unit_of_rows([{'unit': 'S/m'}, {'unit': 'mS/cm'}])
    context = {'mixture': '2LiCl-GaF3', 'model_atoms': 320, 'engine': 'LAMMPS', 'protocol': 'demo'}
    assert small_print(context) == '2LiCl-GaF3, 320 atoms, LAMMPS, demo'
    assert said_of({**context, 'potential_uuid': 'gone'}) == small_print(context)


def test_labels_of_ticks_stay_apart():
    """A logarithmic axis of one decade is labelled at 1, 2 and 5; small numbers carry their power of ten."""
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([1.3e-2, 2.5e-1], [1e-6, 5e-6])
    axes.set_xscale('log')
    tidy_ticks(axes)
    figure.canvas.draw()
    shown = [tick.get_text() for tick in axes.get_xticklabels()]
    assert {'0.02', '0.05', '0.1', '0.2'} <= set(shown)
    assert not any(tick.get_text() for tick in axes.get_xticklabels(minor=True))
    assert '5×10⁻⁶' in [tick.get_text() for tick in axes.get_yticklabels()]
    assert axes.yaxis.get_offset_text().get_text() == ''


def test_calcfunctions_are_plotted(tmp_path):
    """A calcfunction is drawn as the job of the same analysis would be, from the shell too."""
    from aiida_softclay.cli import softclay

    made = activation()
    rows = {row['name']: row for row in made['results']['numbers']}
    value = rows['diffusivity.Li.at_300_K']['value']
    runs = {
        f'run_{T}': orm.Dict({'schema': 'softclay-results/1', 'context': {}, 'numbers': [
            {'name': 'D', 'value': value * T, 'error': 0.1 * value, 'unit': 'cm^2/s', 'definition': 'D', 'n_samples': 3,
             'conditions': {'temperature_K': float(T)}}]}) for T in (300, 400, 500)
    }  # fmt: skip
    parameters = {'quantity': 'D', 'context': {'mixture': '2LiCl-GaF3', 'n_atoms': 320, 'protocol': 'demo'}}
    _, process = analyse_arrhenius.run_get_node(orm.Dict(parameters), **runs)
    assert list(analysis_panels(process)) == ['arrhenius']
    assert plot_curves(process, tmp_path / 'arrhenius.svg') == ['arrhenius']
    assert '2LiCl-GaF3, 320 atoms, demo; drawn from nodes' in (tmp_path / 'arrhenius.svg').read_text()
    with pytest.raises(ValueError, match='no panel hops: choose from arrhenius'):
        plot_curves(process, tmp_path / 'no.svg', ['hops'])
    with pytest.raises(ValueError, match='written as'):
        plot_curves(process, tmp_path / 'figure.jpg')
    _, screened = screen_salts.run_get_node(table(), orm.Dict({'pairs': [['LiCl', 'GaF3']]}))
    runner = CliRunner()
    answer = runner.invoke(softclay, ['plot', str(screened.pk), '--list'])
    assert answer.output.startswith('screening <')
    path = tmp_path / 'screening.pdf'
    answer = runner.invoke(softclay, ['plot', str(screened.pk), '-o', str(path), '--panel', 'screening'])
    assert answer.exit_code == 0, answer.output
    assert path.stat().st_size > 1000
    answer = runner.invoke(softclay, ['plot', str(screened.pk), '--panel', 'hops'])
    assert answer.exit_code != 0
    assert 'choose from screening' in answer.output
