"""Builders of model cells: crystals, slabs, particle assemblies. Free of AiiDA."""
