"""Every command line and block of Python of the documentation is run, page by page, and does what it is there for."""

from __future__ import annotations

import re

import pytest
from documented_lines import PAGES, ROOT, blocks_of, lines_of, steps_of
from documented_places import ELSEWHERE, NOT_HERE, OWN_INSTALLATION
from documented_python import ELSEWHERE as PYTHON_ELSEWHERE
from documented_python import NOT_HERE as PYTHON_NOT_HERE
from documented_session import go_through


def pages():
    return [page for page in PAGES if steps_of(page) and page not in {**ELSEWHERE, **OWN_INSTALLATION}]


@pytest.mark.timeout(600)
@pytest.mark.parametrize('page', pages())
def test_page(page, shell, nodes):
    failures = go_through(page, shell, nodes)
    assert not failures, '\n\n'.join(failures)


def test_every_line_is_typed_somewhere():
    """No prompt stands outside of a block of commands, and no exception is of a line or page that is gone."""
    for page, text in PAGES.items():
        assert len(re.findall(r'^\$ ', text, re.MULTILINE)) == len(lines_of(page)), page
    lines = {line for page in PAGES for line in lines_of(page)}
    assert set(NOT_HERE) <= lines
    assert all(blocks_of(page, 'python') for page in PYTHON_NOT_HERE)
    for page, test in {**ELSEWHERE, **PYTHON_ELSEWHERE, **OWN_INSTALLATION}.items():
        assert steps_of(page), page
        source = (ROOT / test).read_text(encoding='utf-8')
        assert page.rpartition('/')[2] in source, f'{test} does not name {page}'
