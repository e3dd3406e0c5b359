"""Measures of dependencies: what is missing, who waits for whom, what to upload next."""
