"""Let ``setup_profile.sh`` call the setup as ``python -m aiida_softclay.setup``."""

from aiida_softclay.cli.setup import setup

if __name__ == '__main__':
    setup(prog_name='softclay setup')
