"""What shows how a wait ended: counts of its batch, and what they account for."""
