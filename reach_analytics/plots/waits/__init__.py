"""Charts of the measures of waits."""
