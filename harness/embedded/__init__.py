"""The offline suite: a tiny CLIP and small data sets, as package data."""
