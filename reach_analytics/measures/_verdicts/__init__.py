"""What shows how a wait ended: presence of its dependencies, counts of its batch, deletions."""
