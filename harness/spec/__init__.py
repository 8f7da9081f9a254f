"""What a run is, and where things lie."""
