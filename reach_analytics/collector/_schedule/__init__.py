"""What is due when, and for whom: decided from batch states and the time."""
