"""Measures of waits: how they ended, how long they took, what expires when."""
