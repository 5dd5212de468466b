"""Programs that run outside AiiDA."""
