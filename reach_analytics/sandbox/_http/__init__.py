"""The emulated world over HTTP: routes, tokens, envelopes and faults."""
