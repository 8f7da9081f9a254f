"""The record of runs: local records first, then MLflow."""
