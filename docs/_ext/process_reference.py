"""Write the reference of all processes from their own specifications, so that it cannot go out of date."""

from importlib import import_module
from pathlib import Path

from sphinx.util import logging

logger = logging.getLogger(__name__)

GROUPS = {
    'workflows': ('aiida.workflows', 'Workchains'),
    'calculations': ('aiida.calculations', 'Calculations'),
}


def _entry_points(group):
    """Yield name and class of the package's entry points."""
    from importlib.metadata import entry_points

    for entry_point in sorted(entry_points(group=group), key=lambda item: item.name):
        if not entry_point.value.startswith('aiida_softclay.'):
            continue
        module, _, attribute = entry_point.value.partition(':')
        try:
            yield entry_point.name, getattr(import_module(module), attribute)
        except ImportError as exception:
            logger.warning('%s is left out of the reference: %s', entry_point.name, exception)


def _cell(text):
    return ' '.join(str(text or '').split()).replace('|', '\\|').replace('<', '&lt;')


def _types(port):
    types = port.valid_type
    types = types if isinstance(types, tuple) else (types,)
    return ', '.join(item.__name__ for item in types if item is not None and item is not type(None)) or 'any'


def _ports(namespace, prefix=''):
    """Yield the rows of a port namespace; AiiDA's own metadata, the same for all processes, is left out."""
    for name, port in namespace.items():
        full = f'{prefix}{name}'
        if full == 'metadata' or full.endswith('.metadata'):
            continue
        if hasattr(port, 'items'):
            if getattr(port, 'dynamic', False):
                yield f'`{full}.*`', _types(port), '', _cell(port.help)
            yield from _ports(port, f'{full}.')
            continue
        required = 'yes' if port.required and not (hasattr(port, 'has_default') and port.has_default()) else ''
        yield f'`{full}`', _types(port), required, _cell(port.help)


def _table(head, rows):
    if not rows:
        return ['none', '']
    lines = [f'| {" | ".join(head)} |', f'| {" | ".join("---" for _ in head)} |']
    return [*lines, *(f'| {" | ".join(row)} |' for row in rows), '']


def _page(name, cls):
    spec = cls.spec()
    summary = (cls.__doc__ or '').strip().splitlines()
    lines = [f'# {name}', '', summary[0] if summary else '', '', f'`{cls.__module__}.{cls.__name__}`', '']
    if hasattr(cls, 'get_available_protocols'):
        lines += ['## Protocols', '']
        default = cls.get_default_protocol()
        rows = [
            (f'`{key}`' + (' (default)' if key == default else ''), _cell(text))
            for key, text in cls.get_available_protocols().items()
        ]
        lines += _table(('protocol', 'what for'), rows)
        described = cls.get_protocol_descriptions()
        rows = [(f'`{key}`', _cell(text)) for key, text in described.items()]
        lines += ['### Values of the protocols', '', *_table(('value', 'meaning and source'), rows)]
    lines += ['## Inputs', '', *_table(('input', 'type', 'required', 'meaning'), list(_ports(spec.inputs)))]
    lines += ['## Outputs', '', *_table(('output', 'type', 'always', 'meaning'), list(_ports(spec.outputs)))]
    codes = sorted((code.status, label, code.message) for label, code in spec.exit_codes.items() if code.status >= 100)
    rows = [(str(status), f'`{label}`', _cell(message)) for status, label, message in codes]
    lines += ['## Exit codes', '', *_table(('status', 'label', 'message'), rows)]
    return '\n'.join(lines)


def generate(app):
    """Write one page for each process, and a list of them."""
    folder = Path(app.srcdir) / 'reference' / 'generated'
    folder.mkdir(parents=True, exist_ok=True)
    pages = {}
    for kind, (group, title) in GROUPS.items():
        lines = [f'# {title}', '', '```{toctree}', ':maxdepth: 1', '']
        for name, cls in _entry_points(group):
            # Sphinx would take the last part of `softclay.md` for the ending of a file name.
            page = name.replace('.', '-')
            pages[f'{page}.md'] = _page(name, cls)
            lines.append(page)
        pages[f'{kind}.md'] = '\n'.join([*lines, '```', ''])
    for stale in {path.name for path in folder.glob('*.md')} - set(pages):
        (folder / stale).unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def setup(app):
    """Register with Sphinx."""
    app.connect('builder-inited', generate)
    return {'parallel_read_safe': True}
