"""Commands that machines find on their PATH instead of the real ones."""
