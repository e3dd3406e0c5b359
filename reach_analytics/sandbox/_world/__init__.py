"""The state of an emulated Reach and how it changes. No I/O and no HTTP."""
