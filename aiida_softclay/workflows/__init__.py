"""WorkChains, one concept a file."""
