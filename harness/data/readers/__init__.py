"""Readers, one for each way in which a data set is stored."""
