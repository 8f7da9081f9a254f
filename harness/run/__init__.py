"""One run, from words to Result."""
