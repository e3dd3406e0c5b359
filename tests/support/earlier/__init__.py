"""What the engine does now, as it was done before: slower, and read by other eyes."""
