"""Observables of MD trajectories and time series. Free of AiiDA."""
