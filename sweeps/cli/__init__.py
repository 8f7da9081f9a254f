"""The commands suite and sweep."""
