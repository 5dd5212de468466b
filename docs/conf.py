"""Configuration of the documentation: `sphinx-build -W docs docs/_build/html`."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / '_ext'))
# Importing the processes needs an AiiDA configuration folder, never a profile: the reader's own is left alone.
_folder = tempfile.TemporaryDirectory(prefix='softclay-docs-')
os.environ['AIIDA_PATH'] = _folder.name

import aiida_softclay  # noqa: E402 - reads the environment above

project = 'aiida-softclay'
author = 'the aiida-softclay developers'
version = release = aiida_softclay.__version__

extensions = ['myst_parser', 'sphinx_click', 'process_reference']
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3
exclude_patterns = ['_build', '_ext']
suppress_warnings = ['myst.strikethrough']

html_theme = 'furo'
html_title = 'aiida-softclay'
