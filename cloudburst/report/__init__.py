"""What a run came to: figures, and report.json."""
