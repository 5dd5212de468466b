"""What the placeholders of each page stand for, and the lines that no machine of the tests can type."""

from __future__ import annotations

import re
from typing import Any

#: Page to pairs of a placeholder, or a pattern, and the name of a node, or a text with such names; the pairs of
#: ``ANY_PAGE`` follow.
PLACES = {
    # A whole study is reported once; elsewhere a smaller process is.
    'README.md': [('export PK', 'export {vasp_run}'), ('plot PK', 'plot {conductivity}')],
    'docs/howto/analyse.md': [('123', 'trajectory')],
    'docs/howto/concurrent-learning.md': [(r'(?<=\()PK(?=\))', 'learning')],
    'docs/howto/fit-potential.md': [
        ('1234', 'frames_0'), ('1235', 'frames_1'), ('1236', 'frames_2'), ('2345', 'fit'), ('2399', 'checkpoint'),
    ],
    'docs/howto/glasses.md': [('--structure PK', '--structure {framework}'), ('--potential PK', '--potential {every}')],
    'docs/howto/import-vasp.md': [
        ('1234', 'vasp_run'), ('1301', 'vasp_job'), ('1410', 'frames_0'), ('1502', 'frames_1'), ('1520', 'frames_2'),
    ],
    'docs/howto/label.md': [('1234', 'trajectory')],
    'docs/howto/melt-quench.md': [('PK', 'melt_quench')],
    'docs/howto/model-deviation.md': [
        ('1234', 'structure'), ('2001', 'model_0'), ('2002', 'model_1'), ('2003', 'model_2'), ('2004', 'model_3'),
    ],
    'docs/howto/my-salts.md': [('POTENTIAL', 'every')],
    'docs/howto/query.md': [('123', 'study'), ('456', 'fit'), ('45', 'potential')],
    'docs/howto/report.md': [('123', 'validation')],
    'docs/topics/figures.md': [('PK --panel', '{conductivity} --panel'), ('PK', 'pulse')],
    'docs/howto/validate-potential.md': [
        ('1234 --protocol yang2024', '{every} --protocol yang2024'), ('1234', 'model_0'), ('5678', 'structure'),
        ('plot PK', 'plot {pulse}'), ('results PK', 'results {validation}'), ('@gpu', '@cluster'),
        ('PBE[.]54', 'softclay-vasp'),
    ],
    'docs/howto/take-away.md': [('123', 'conductivity'), ('456', 'vasp_run'), ('UUID', 'uuid')],
    'docs/howto/thermodynamics.md': [('1234', 'table')],
    'docs/tutorials/demo.md': [('plot 123', 'plot {conductivity}'), ('123', 'study'), ('456', 'results')],
}  # fmt: skip
ANY_PAGE = [
    ('--potential (?:PK|POTENTIAL)', '--potential {model_0}'), ('trajectory=PK(?=:)', 'trajectory={remote}'),
    ('trajectory=PK', 'trajectory={trajectory}'), ('thermo=PK', 'thermo={thermo}'),
    ('trajectory export PK', 'trajectory export {trajectory}'), ('compare PK PK', 'compare {study} {fit}'),
    ('POTENTIAL', 'model_0'), ('FRAMES', 'frames_0'), ('SLAB', 'slab'), ('MELT', 'structure'),
    ('STRUCTURE', 'structure'), ('TABLE', 'table'), ('PK', 'study'),
]  # fmt: skip

#: Lines that are not typed by the tests, with the reason.
NOT_HERE = {
    'apt-get install postgresql rabbitmq-server': 'installs servers, as root',
    "su postgres -c 'createuser --createdb --pwprompt aiida'": 'needs the server, as root',
    "echo '[{rabbit, [{consumer_timeout, undefined}]}].' > /etc/rabbitmq/advanced.config": 'writes to /etc, as root',
    'systemctl restart rabbitmq-server': 'needs the server, as root',
    "dp-torch/bin/pip install 'deepmd-kit[torch]==3.2.0' torch==2.11.0 mpich": 'downloads gigabytes',
}
#: Pages that another test types as they stand.
ELSEWHERE = {'docs/tutorials/analyse-a-study.md': 'tests/report/test_tutorial_analyse.py'}
#: Pages whose commands make a profile or speak to a daemon.
OWN_INSTALLATION = dict.fromkeys(
    ('docs/howto/cluster.md', 'docs/howto/resume.md', 'docs/howto/take-away.md', 'docs/topics/provenance.md'),
    'tests/cli/test_documented_installation_run.py',
)


def filled_in(page: str, text: str, nodes: dict[str, Any]) -> str:
    """Return a line or a block with keys of nodes in the places of placeholders."""
    for pattern, name in [*PLACES.get(page, []), *ANY_PAGE]:
        value = name.format(**nodes) if name not in nodes else str(nodes[name])
        # A placeholder stands alone; the other patterns say themselves where they end.
        text = re.sub(rf'(?<![\w./-]){pattern}(?![\w.])' if pattern.isalnum() else pattern, value, text)
    return text
