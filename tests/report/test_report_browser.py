"""The page of a study in a real browser: no errors, no requests, no scrolling sideways, on a phone and on a desktop."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
from report_samples import Study

from aiida_softclay.report.page import write_report

PROGRAM = next(
    (found for name in ('chromium', 'chromium-browser', 'google-chrome') if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason='no Chromium is installed')

QUIET = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-extensions', '--hide-scrollbars', '--enable-logging=stderr',
)  # fmt: skip
#: Opens the page in a frame of a given width, as narrow as a window cannot be, and writes down what it finds there.
#: The page forbids scripts to itself, so that this one looks at it from outside.
LOOK = """<!DOCTYPE html><html><body>
<iframe id="frame" src="page.html" width="{width}" height="900"></iframe><pre id="found"></pre>
<script>
const frame = document.getElementById('frame');
frame.addEventListener('load', async () => {{
  const page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll('details').forEach(part => {{ part.open = true; }});
  await Promise.all([...page.images].map(image => image.decode().catch(() => null)));
  const wide = [...page.querySelectorAll('body *')].filter(part => !part.closest('svg, .skip, thead'))
    .filter(part => part.getBoundingClientRect().right > root.clientWidth + 1).map(part => part.outerHTML.slice(0, 99));
  const light = colour => {{
    const part = colour.match(/[\\d.]+/g).slice(0, 3).map(value => value / 255)
      .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  }};
  const behind = part => {{
    for (let other = part; other; other = other.parentElement) {{
      const colour = frame.contentWindow.getComputedStyle(other).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }}
    return 'rgb(255, 255, 255)';
  }};
  const ratio = part => {{
    const [a, b] = [light(frame.contentWindow.getComputedStyle(part).color), light(behind(part))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }};
  const texts = [...page.querySelectorAll('p, dt, dd, th, td, figcaption, a, summary, h1, h2, h3, li, code, span')];
  document.getElementById('found').textContent = JSON.stringify({{
    scroll: root.scrollWidth, client: root.clientWidth, wide,
    broken: [...page.images].filter(image => !image.naturalWidth).length,
    images: page.images.length, wordless: [...page.images].filter(image => !image.alt.trim()).length,
    small: Math.min(...texts.map(part => parseFloat(frame.contentWindow.getComputedStyle(part).fontSize))),
    contrast: Math.min(...texts.map(ratio)),
    fetched: frame.contentWindow.performance.getEntriesByType('resource').map(entry => entry.name)
      .filter(name => !name.startsWith('data:')),
  }});
}});
</script></body></html>"""


@pytest.fixture(scope='module')
def folder(aiida_profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    study = Study(folder, experiments=('conductivity', 'stress_pulse'))
    write_report(study.node, folder / 'page.html')
    return folder


def chromium(folder, *arguments):
    command = [PROGRAM, *QUIET, f'--user-data-dir={folder / "browser"}', *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=folder)


def look(folder):
    """Return what was found on the page, and what the browser said.

    Pictures are decoded beside the clock of the page, which can run out before them on a busy machine.
    """
    for budget in (20_000, 100_000, 500_000):
        outcome = chromium(
            folder, '--allow-file-access-from-files', f'--virtual-time-budget={budget}', '--window-size=1400,1000',
            '--dump-dom', f'file://{folder}/look.html',
        )  # fmt: skip
        found = html.unescape(re.search(r'<pre id="found">(.*?)</pre>', outcome.stdout, re.DOTALL).group(1))
        if found:
            return json.loads(found), outcome.stderr
    pytest.fail(f'the page was not looked at within {budget} ms: {outcome.stderr}')


@pytest.mark.parametrize('width', [390, 1280])
def test_page_fits_and_is_quiet(folder, width):
    (folder / 'look.html').write_text(LOOK.format(width=width), encoding='utf-8')
    found, messages = look(folder)
    assert found['images'] > 10
    assert found['wordless'] == found['broken'] == 0
    assert found['scroll'] <= found['client'], found['wide']
    assert not found['wide']
    assert not found['fetched']
    assert found['small'] >= 12
    # WCAG 2.2 asks for 4.5 for texts of this size.
    assert found['contrast'] >= 4.5
    assert 'CONSOLE' not in messages, messages


def test_page_prints(folder):
    chromium(folder, '--no-pdf-header-footer', f'--print-to-pdf={folder / "page.pdf"}', f'file://{folder}/page.html')
    content = (folder / 'page.pdf').read_bytes()
    assert content.startswith(b'%PDF')
    assert len(re.findall(rb'/Type\s*/Page\b', content)) > 3
