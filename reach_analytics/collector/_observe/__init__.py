"""From one request to rows of the store: requests, fingerprints, and the write buffer."""
