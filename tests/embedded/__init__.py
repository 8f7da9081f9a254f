"""A package, so that the conftest beside it does not hide the one above."""
