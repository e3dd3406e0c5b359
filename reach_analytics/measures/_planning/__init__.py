"""Algorithms that put uploads in an order: arrays in, orders out."""
