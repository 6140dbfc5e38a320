"""Timings of every operator beside its peers: `python -m bench [NAMES]`."""
