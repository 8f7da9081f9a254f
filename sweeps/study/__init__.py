"""One search: Optuna's study, its trials, pruning, and equal-budget comparisons."""
