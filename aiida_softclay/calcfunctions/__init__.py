"""Builders and observables as provenance-keeping functions."""
