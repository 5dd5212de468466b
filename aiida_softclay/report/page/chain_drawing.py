"""The chain behind a report as a drawing: boxes in rows, joined by right-angled lines that keep apart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from aiida_softclay.report.page.chain import LAYERS, Box, Chain

#: Fill and edge of the boxes of each row; ink on the fills has a contrast of more than 7.
FILLS = {
    'crystals': ('#e8e8f8', '#55559a'), 'sampling': ('#f4f4f4', '#606060'), 'frames': ('#d9f0e4', '#00704f'),
    'fit': ('#f4f4f4', '#606060'), 'potential': ('#fbe3c2', '#9a5b00'), 'glass': ('#f4f4f4', '#606060'),
    'model': ('#dcebf7', '#00558a'), 'experiment': ('#f4f4f4', '#606060'), 'analysis': ('#f4f4f4', '#606060'),
    'numbers': ('#fdf6c8', '#7a6a00'),
}  # fmt: skip
FAILED = ('#fbe4dc', '#a33c00')
INK, LINE = '#202020', '#6a6a6a'
#: Sizes, pixels: text, mean width of a letter over its height, margins, space between boxes, and between lines.
FONT, LETTER, PAD, GAP, LANE = 13, 0.54, 9, 14, 7
#: Space above and below the lines between two rows.
CLEAR = 12


@dataclass
class _Placed:
    """A box with its lines of text and its place."""

    box: Box
    lines: list[str]
    row: int
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def draw_chain(chain: Chain, columns: int, width: int) -> str:
    """Return the drawing of a chain as SVG.

    Parameters
    ----------
    chain : Chain
    columns : int
        Most boxes in a row; a fuller one is broken.
    width : int
        Of the drawing, pixels at which its text has 13 pixels.

    Returns
    -------
    str
        An `svg` element without script, style sheet or reference; texts are escaped.
    """
    rows = _rows(chain.boxes, columns)
    row_of = {index: number for number, row in enumerate(rows) for index in row}
    # Lines that go up, as in a loop of learning, would cross everything; the boxes name their nodes.
    edges = [(first, second) for first, second in chain.edges if row_of[first] < row_of[second]]
    passing = [edge for edge in edges if row_of[edge[1]] - row_of[edge[0]] > 1]
    lanes = {source: number for number, source in enumerate(dict.fromkeys(first for first, _ in passing))}
    margin = 2 + LANE * (len(lanes) + 1) if lanes else 2
    # Each source has a height of its own in the gap below its row, and each lane one in the gap above a target's.
    gaps = [_gap_sources(edges, passing, row_of, number) for number in range(len(rows))]
    placed: dict[int, _Placed] = {}
    top = 2.0
    tops = []
    for number, row in enumerate(rows):
        top += CLEAR * 2 + LANE * len(gaps[number]) if number else 0
        tops.append(top)
        wide = (width - margin - 2 - GAP * (columns - 1)) / columns
        wide = max(wide, min(2 * wide + GAP, (width - margin - 2 - GAP * (len(row) - 1)) / len(row)))
        start = margin + (width - margin - 2 - len(row) * wide - GAP * (len(row) - 1)) / 2
        for place, index in enumerate(row):
            lines = _lines(chain.boxes[index], wide)
            height = 2 * PAD + FONT * 1.35 * len(lines)
            placed[index] = _Placed(chain.boxes[index], lines, number, start + place * (wide + GAP), top, wide, height)
        top += max(placed[index].height for index in row)
    drawn = [_path(edge, placed, tops, gaps, lanes, rows) for edge in edges]
    drawn += [_box(place) for place in placed.values()]
    return (
        f'<svg viewBox="0 0 {width} {top + 2:.0f}" width="{width}" '
        f'height="{top + 2:.0f}" font-family="system-ui, sans-serif" font-size="{FONT}" aria-hidden="true" '
        f'focusable="false">{"".join(drawn)}</svg>'
    )


def _rows(boxes: Sequence[Box], columns: int) -> list[list[int]]:
    found = []
    for layer in LAYERS:
        members = [index for index, box in enumerate(boxes) if box.layer == layer]
        found += [members[start : start + columns] for start in range(0, len(members), columns)]
    return found


def _gap_sources(
    edges: Sequence[tuple[int, int]], passing: Sequence[tuple[int, int]], row_of: dict[int, int], number: int
) -> list[tuple[str, int]]:
    """Return the lines in the gap above a row: leaving a box of the row above it, or coming out of a lane."""
    leaving = [('out', first) for first, _ in edges if row_of[first] == number - 1]
    coming = [('in', first) for first, second in passing if row_of[second] == number]
    return list(dict.fromkeys([*leaving, *coming]))


def _lines(box: Box, width: float) -> list[str]:
    letters = max(8, int((width - 2 * PAD) / (FONT * LETTER)))
    title = textwrap.wrap(box.title, int(letters * 0.94), max_lines=2, placeholder='…')
    detail = textwrap.wrap(box.detail, letters, max_lines=2, placeholder='…') if box.detail else []
    # A key is never broken.
    keys = textwrap.wrap(box.keys, letters, break_long_words=False, max_lines=3, placeholder=' …')
    return [f'\0{line}' for line in title] + detail + [f'\1{line}' for line in keys]


def _box(place: _Placed) -> str:
    fill, edge = FAILED if place.box.failed else FILLS[place.box.layer]
    process = place.box.layer in ('sampling', 'fit', 'glass', 'experiment', 'analysis')
    parts = [
        f'<rect x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" '
        f'rx="{3 if process else 10}" fill="{fill}" stroke="{edge}" stroke-width="1.2"/>'
    ]
    for number, line in enumerate(place.lines):
        weight = ' font-weight="600"' if line.startswith('\0') else ''
        colour = '#4a4a4a' if line.startswith('\1') else INK
        y = place.y + PAD + FONT * (1.35 * number + 0.95)
        parts.append(
            f'<text x="{place.middle:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}"{weight}>'
            f'{escape(line.lstrip(chr(0) + chr(1)))}</text>'
        )
    return ''.join(parts)


def _path(
    edge: tuple[int, int], placed: dict[int, _Placed], tops: list[float], gaps: list[list[tuple[str, int]]],
    lanes: dict[int, int], rows: list[list[int]],
) -> str:  # fmt: skip
    """Return the line of an edge: down, across in the gap, along a lane past other rows, and down with an arrow."""
    source, target = placed[edge[0]], placed[edge[1]]

    def height_in_gap(row: int, kind: str) -> float:
        number = gaps[row].index((kind, edge[0]))
        return tops[row] - CLEAR - LANE * (len(gaps[row]) - 1 - number) - 2

    # Lines that end on one box keep apart: those of direct neighbours in its middle, others left of it.
    end = target.y - 1
    leave = height_in_gap(source.row + 1, 'out')
    points = [(source.middle, source.y + source.height), (source.middle, leave)]
    if target.row == source.row + 1:
        points += [(target.middle, leave), (target.middle, end)]
    else:
        lane = 2 + LANE * (lanes[edge[0]] + 0.5)
        arrive = height_in_gap(target.row, 'in')
        side = target.middle - min(24.0, target.width / 4)
        points += [(lane, leave), (lane, arrive), (side, arrive), (side, end)]
    x, y = points[-1]
    line = ' '.join(f'{"M" if number == 0 else "L"}{px:.1f} {py:.1f}' for number, (px, py) in enumerate(points))
    arrow = f'M{x - 4:.1f} {y - 7:.1f} L{x:.1f} {y:.1f} L{x + 4:.1f} {y - 7:.1f} Z'
    return (
        f'<path d="{line}" fill="none" stroke="{LINE}" stroke-width="1.2" stroke-linejoin="round"/>'
        f'<path d="{arrow}" fill="{LINE}"/>'
    )
