"""Measures of the collecting: how complete and how current its data is."""
