"""A study, a stage or an experiment as one HTML page that can be opened anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from aiida import orm

from aiida_softclay.report.page.content import Content, content_of, date_text

__all__ = ['Content', 'content_of', 'render_page', 'write_report']

FOLDER = Path(__file__).parent
#: Columns and width (pixels) of the drawing of the chain, on a desktop and on a phone.
WIDE, NARROW = (4, 920), (2, 372)
#: Sections, in their order: anchor to heading in the list at the top.
SECTIONS = (
    ('warnings', 'Warnings'), ('provenance', 'Where it comes from'), ('potential', 'Potential'), ('cell', 'Cell'),
    ('figures', 'Figures'), ('numbers', 'Numbers'), ('scorecard', 'Against the papers'), ('inputs', 'Inputs'),
    ('reproduce', 'Do it again'),
)  # fmt: skip
#: Warnings that are read before anything else; the others are folded.
MOST_WARNINGS = 10


def render_page(content: Content) -> str:
    """Return the page as HTML.

    Every text from the database is escaped; pictures and style sheet are in the page, and a policy in it forbids the
    browser to load anything.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    import aiida_softclay
    from aiida_softclay.report.page.chain_drawing import draw_chain

    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template('report.html.j2')
    # Ours, and the drawing, whose texts are escaped where it is made.
    drawings = [Markup(draw_chain(content.chain, *size)) for size in (WIDE, NARROW)]  # noqa: S704
    style = Markup((FOLDER / 'report.css').read_text(encoding='utf-8'))  # noqa: S704
    return template.render(
        content=content, chapters=content.chapters(), sections=SECTIONS, css=style, chain_wide=drawings[0],
        chain_narrow=drawings[1], most_warnings=MOST_WARNINGS,
        version=aiida_softclay.__version__, written=date_text(datetime.now(UTC)),
    )  # fmt: skip


def write_report(process: orm.ProcessNode, path: Path, force: bool = False) -> int:
    """Write the report of a process.

    Parameters
    ----------
    process : aiida.orm.ProcessNode
        A study, a stage, an experiment or an analysis; running, finished or failed.
    path : pathlib.Path
        File to write.
    force : bool
        Whether a file that is there is replaced.

    Returns
    -------
    int
        Size of the file, bytes.

    Raises
    ------
    ValueError
        If the process is none of this package.
    FileExistsError
        If the file is there and is not to be replaced.
    """
    if path.exists() and not force:
        raise FileExistsError(f'{path} is there already: give --force to replace it, or another name with --output')
    page = render_page(content_of(process)).encode('utf-8')
    path.write_bytes(page)
    return len(page)
