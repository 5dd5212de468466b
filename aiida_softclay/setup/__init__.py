"""Prepare a machine: an AiiDA profile of its own, a computer, the engines as codes, a family of potentials."""
