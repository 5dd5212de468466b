"""AiiDA plugin that computes clay-like solid electrolytes end to end with full provenance."""

__version__ = '0.1.0'
