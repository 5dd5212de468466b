"""Pictures of cells: what is in front hides what is behind, everything is in its place, and nodes remember."""

from __future__ import annotations

import io

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from matplotlib import colormaps
from matplotlib import image as matplotlib_image
from PIL import Image

from aiida_softclay.analysis.cell_rendering import ViewError, cell_edges, render_spheres, view_axes
from aiida_softclay.calcfunctions.structures import build_oligomer_glass, to_structure
from aiida_softclay.report.cell_picture import PictureError, draw_cell, picture_cell, plot_cell, save_picture
from aiida_softclay.report.page.pictures import fewer_colours
from aiida_softclay.structures.crystals import crystal

RED, BLUE = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
FRAME = (-2.0, 2.0, -2.0, 2.0)


@pytest.fixture
def salt() -> Atoms:
    return crystal('LiCl').repeat(2)


def colour_at(scene, x: float, y: float) -> np.ndarray:
    """Return red, green, blue and opacity of the image at a point of the view."""
    left, right, bottom, top = scene.extent
    height, width = scene.image.shape[:2]
    return scene.image[int((top - y) / (top - bottom) * height), int((x - left) / (right - left) * width)]


def test_the_nearer_sphere_hides_the_farther_one():
    for order in ([0, 1], [1, 0]):
        points = np.array([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0]])[order]
        scene = render_spheres(points, np.array([0.8, 1.2])[order], np.array([RED, BLUE])[order], FRAME, 100)
        middle, rim, corner = (colour_at(scene, x, 0.0) for x in (0.0, 1.0, 1.8))
        assert middle[0] > middle[2]
        assert rim[2] > rim[0]
        assert corner[3] == 0


def test_spheres_that_overlap_meet_in_the_plane_between_them():
    points = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]])
    scene = render_spheres(points, np.ones(2), np.array([RED, BLUE]), FRAME, 200)
    assert colour_at(scene, -0.1, 0.3)[0] > colour_at(scene, -0.1, 0.3)[2]
    assert colour_at(scene, 0.1, 0.3)[2] > colour_at(scene, 0.1, 0.3)[0]


def test_a_sphere_covers_its_circle_and_no_more():
    scene = render_spheres([[0.3, -0.4, 0.0]], [1.0], [RED], FRAME, 400)
    covered = (scene.image[..., 3] / 255.0).sum() * (4.0 / 400) ** 2
    assert covered == pytest.approx(np.pi, rel=2e-3)
    rows, columns = np.nonzero(scene.image[..., 3] > 127)
    centre = (columns.mean() + 0.5) * 4.0 / 400 - 2.0, 2.0 - (rows.mean() + 0.5) * 4.0 / 400
    assert centre == pytest.approx((0.3, -0.4), abs=0.01)


def test_what_is_far_is_paler_unless_colours_are_numbers():
    points, radii = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 30.0]]), np.full(2, 0.8)
    for fading, paler in ((0.45, True), (0.0, False)):
        scene = render_spheres(points, radii, np.array([RED, RED]), FRAME, 100, fading)
        far, near = colour_at(scene, -1.0, 0.0).astype(int), colour_at(scene, 1.0, 0.0).astype(int)
        assert (far[2] > near[2] + 50) == paler


def test_points_behind_a_sphere_are_out_of_sight():
    scene = render_spheres([[0.0, 0.0, 0.0]], [1.0], [RED], FRAME, 100)
    seen = scene.in_sight([[0, 0, 2], [0, 0, -2], [1.8, 0, -2], [0, 0, 0.5]])
    assert seen.tolist() == [True, False, True, False]


@pytest.mark.parametrize('view', ['oblique', 'a', 'b', 'c', (1.0, 2.0, -0.5)])
def test_views_are_right_handed_and_upright(view):
    cell = np.array([[7.0, 0.0, 0.0], [-3.0, 8.0, 0.0], [1.0, 2.0, 9.0]])
    axes = view_axes(cell, view)
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    if view in {'a', 'b', 'c'}:
        vector = cell['abc'.index(view)]
        assert axes @ vector == pytest.approx([0, 0, np.linalg.norm(vector)], abs=1e-9)
    assert axes[1] @ cell[1 if view == 'c' else 2] > 0
    assert cell_edges(cell).shape == (12, 2, 3)
    assert sum(np.allclose(edge[1] - edge[0], cell[1]) for edge in cell_edges(cell)) == 4


def test_views_without_direction_are_refused():
    with pytest.raises(ViewError, match="oblique, a, b, c or three numbers, not 'front'"):
        view_axes(np.eye(3), 'front')
    with pytest.raises(ViewError, match='not all zero'):
        view_axes(np.eye(3), (0, 0, 0))


@pytest.mark.parametrize('kind', ['png', 'pdf', 'svg'])
def test_picture_in_every_format_is_the_same_twice(salt, kind, tmp_path, monkeypatch):
    monkeypatch.setenv('SOURCE_DATE_EPOCH', '0')
    contents = []
    for _ in range(2):
        target = io.BytesIO()
        save_picture(draw_cell(salt, width_cm=3, dpi=80, title='LiCl'), target, kind)
        contents.append(target.getvalue())
    starts = {'png': b'\x89PNG', 'pdf': b'%PDF', 'svg': b'<?xml'}
    assert contents[0].startswith(starts[kind])
    if kind != 'svg':
        # Matplotlib draws the identifiers of an svg at random.
        assert contents[0] == contents[1]


def test_legend_scale_bar_and_axes_say_what_is_shown(salt):
    figure = draw_cell(salt, width_cm=3, dpi=80)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['Li (32)', 'Cl (32)']
    texts = [text.get_text() for text in axes.texts]
    assert {'a', 'b', 'c'} <= set(texts)
    (bar,) = [line for line in axes.lines if line.get_linewidth() == 2.0]
    length = float(np.ptp(bar.get_xdata()))
    label = next(text for text in texts if 'nm' in text or 'Å' in text)
    assert length == pytest.approx(10 * float(label.split()[0]) if 'nm' in label else float(label.split()[0]))


def test_classes_and_values_have_their_own_legend(salt):
    few = draw_cell(salt, classes=np.arange(64) % 3 - 1, class_name='grain', width_cm=3, dpi=80)
    texts = [text.get_text() for text in few.axes[0].get_legend().get_texts()]
    assert texts == ['grain 0', 'grain 1', 'other (22)']
    many = draw_cell(salt, classes=np.arange(64), class_name='molecule', width_cm=3, dpi=80)
    assert [text.get_text() for text in many.axes[0].get_legend().get_texts()] == ['64 × molecule']
    chosen = draw_cell(salt, classes=np.arange(64) < 5, class_name='fast', width_cm=3, dpi=80)
    assert chosen.axes[0].get_legend().get_texts()[0].get_text() == 'fast (5)'
    values = np.linspace(0, 4, 64)
    values[3] = np.nan
    shown = draw_cell(salt, values=values, value_label='displacement (Å)', width_cm=3, dpi=80)
    (bar,) = [axes for axes in [*shown.axes, *shown.axes[0].child_axes] if axes.get_ylabel() == 'displacement (Å)']
    assert bar.get_ylim() == pytest.approx((0, 4))


def test_an_element_without_a_colour_of_its_own_is_drawn():
    xenon = Atoms('XeF', positions=[[1, 1, 1], [3, 3, 3]], cell=[5.0] * 3, pbc=True)
    assert draw_cell(xenon, width_cm=2, dpi=50).axes[0].get_legend().get_texts()[1].get_text() == 'Xe (1)'


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'classes': np.zeros(3, int)}, 'for each of the 64 atoms'),
        ({'classes': np.zeros(64)}, 'give them as values'),
        ({'values': np.full(64, np.nan)}, 'none of the values is a number'),
        ({'values': np.zeros(64), 'classes': np.zeros(64, int)}, 'not by both'),
        ({'dpi': 0}, 'positive numbers'),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(salt, options, sentence):
    with pytest.raises(PictureError, match=sentence):
        draw_cell(salt, **options)


def test_a_picture_needs_a_cell_and_a_known_format(salt):
    with pytest.raises(PictureError, match='a cell with a volume'):
        draw_cell(Atoms('Li'))
    with pytest.raises(PictureError, match="png, pdf, svg, not 'bmp'"):
        save_picture(draw_cell(salt, width_cm=2, dpi=50), io.BytesIO(), 'bmp')


@pytest.mark.usefixtures('aiida_profile')
def test_picture_node_knows_its_structure(salt):
    structure = to_structure(salt, 'LiCl')
    node = picture_cell(structure, orm.Dict({'width_cm': 3, 'dpi': 80}))
    assert node.filename == 'cell.png'
    with node.open(mode='rb') as handle:
        pixels = matplotlib_image.imread(handle)
    assert pixels.std() > 0.05
    assert node.creator.inputs.structure.uuid == structure.uuid
    for options, sentence in (
        ({'colour': 'grain'}, 'does not know colour: choose from format'),
        ({'colour_by': 'grain'}, "no array 'grain' to colour by: choose from element"),
        ({'format': 'bmp'}, "not 'bmp'"),
    ):
        _, process = picture_cell.run_get_node(structure, orm.Dict({'width_cm': 2, 'dpi': 50, **options}))
        assert process.exit_status == 510
        assert sentence in process.exit_message


@pytest.mark.usefixtures('aiida_profile')
def test_molecules_of_a_builder_colour_its_structure(tmp_path):
    structure = build_oligomer_glass(orm.Dict({'n_molecules': 4, 'seed': 3}))['structure']
    path = tmp_path / 'molecules.svg'
    shown, written = plot_cell(structure, path, colour_by='molecule_id', width_cm=3, dpi=80, wrap=False)
    assert shown.uuid == structure.uuid
    assert written.read_text(encoding='utf-8').count('molecule ') >= 4
    made, _ = plot_cell(structure.creator, tmp_path / 'again.png', width_cm=3, dpi=80)
    assert made.uuid == structure.uuid
    with pytest.raises(ValueError, match='is no structure, and no process that made one'):
        plot_cell(orm.Dict({}).store(), path)


def test_fewer_colours_keep_a_colour_bar():
    """Thousands of slow atoms take the palette from neither the few fast ones nor the bar beside them."""
    rng = np.random.default_rng(1)
    values = np.minimum(rng.exponential(0.15, (400, 400)), 1)
    values[:, -8:] = np.linspace(0, 1, 400)[:, None]
    colours = colormaps['viridis'](values)[..., :3]
    colours[:, :-8] *= rng.uniform(0.5, 1, (400, 392, 1))
    pixels = (255 * colours).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'png')
    with Image.open(io.BytesIO(fewer_colours(buffer.getvalue()))) as image:
        assert image.getcolors() is not None
        assert len(image.getcolors()) <= 256
        seen = np.asarray(image.convert('RGB')).astype(int)
    assert np.abs(seen - pixels)[:, -8:].max() <= 12
