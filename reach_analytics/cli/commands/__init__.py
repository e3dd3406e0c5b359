"""The commands. Each parses its arguments, calls the package and prints."""
