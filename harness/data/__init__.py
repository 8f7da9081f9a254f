"""Data sets, splits, few-shot subsets, pixels, augmentation, caches and checks."""
