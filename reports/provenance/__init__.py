"""Which runs a table is made of, and making it again."""
