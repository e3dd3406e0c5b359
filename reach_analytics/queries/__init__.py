"""Ibis in, Ibis out: from the two stored tables to the frames. The only package that imports Ibis.

Everything is lazy and runs on whatever engine holds the tables. Nothing here opens a store.
"""
