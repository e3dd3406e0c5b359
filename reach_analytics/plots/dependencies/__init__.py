"""Charts of the measures of dependencies."""
