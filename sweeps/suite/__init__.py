"""Grids of runs, and the processes that run them."""
