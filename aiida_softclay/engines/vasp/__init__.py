"""A VASP-compatible program over ASE calculators: reads VASP's input files, writes VASP's output files.

It is a stand-in, and every file it writes says so: its energies come from a machine-learned or other model potential,
never from density-functional theory.
"""
