"""Measures of batches: did it land, how long did it take, what went wrong."""
