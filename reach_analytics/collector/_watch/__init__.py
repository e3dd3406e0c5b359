"""The loop of a watch, and what interrupts or stalls it."""
