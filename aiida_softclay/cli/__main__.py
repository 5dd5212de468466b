"""Let ``python -m aiida_softclay.cli`` be ``softclay``, also where scripts are not on the PATH."""

from aiida_softclay.cli import softclay

if __name__ == '__main__':
    softclay(prog_name='softclay')
