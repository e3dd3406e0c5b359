"""Charts of the measures of batches."""
