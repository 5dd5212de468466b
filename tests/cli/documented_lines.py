"""What the documentation shows: command lines, blocks of Python, and files whose first line is their name."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding='utf-8')
    for path in (ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md')))
}


def blocks_of(page: str, kind: str) -> list[str]:
    """Return the fenced blocks of a kind, such as ``console``, in order."""
    return re.findall(rf'^```{kind}\n(.*?)^```$', PAGES[page], re.DOTALL | re.MULTILINE)


def steps_of(page: str) -> list[tuple[str, str]]:
    """Return what a page tells to do, in order: ``console`` and a line, or ``python`` and a block."""
    found: list[tuple[str, str]] = []
    for kind, text in re.findall(r'^```(console|python)\n(.*?)^```$', PAGES[page], re.DOTALL | re.MULTILINE):
        found += [('python', text)] if kind == 'python' else [('console', line) for line in lines_in(text)]
    return found


def lines_of(page: str) -> list[str]:
    """Return the command lines of a page."""
    return [text for kind, text in steps_of(page) if kind == 'console']


def lines_in(block: str) -> list[str]:
    """Return what stands behind the prompts of a block, lines that go on joined, without comments."""
    joined = block.replace('\\\n', ' ')
    lines = [line.removeprefix('$ ') for line in joined.splitlines() if line.startswith('$ ')]
    return [re.sub(' {2,}', ' ', re.sub(r'\s+#\s.*$', '', line)).strip() for line in lines]


def files_of(page: str) -> dict[str, str]:
    """Return the files of YAML that a page shows: a block that begins with ``# NAME.yaml``."""
    found = {}
    for block in blocks_of(page, 'yaml'):
        name = re.match(r'# (\w+\.yaml)\b', block)
        if name:
            found[name[1]] = block
    return found
