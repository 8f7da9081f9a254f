"""Questions asked of results, answered as data frames."""
