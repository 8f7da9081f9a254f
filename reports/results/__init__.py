"""Recorded runs as data frames."""
