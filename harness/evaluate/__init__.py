"""Scores, calibration, predictions and costs."""
