"""Timings of every operator beside its peers: `arrayvision bench [NAMES]`."""
