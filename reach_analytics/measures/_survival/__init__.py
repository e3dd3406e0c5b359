"""Estimators of lifetimes seen through intervals. Nothing here knows what waits."""
