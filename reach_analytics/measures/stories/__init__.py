"""Stories: what one record, missing key or batch is, why it waits, and what would free it."""
