"""Algorithms on the graph of pending resources and what they miss: arrays in, arrays out.

Nothing here knows a frame but `model`, which reads one into numbers.
"""
