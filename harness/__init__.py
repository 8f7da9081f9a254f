"""The benchmark harness, from the definition of a run to its record."""
