"""What is written down about a run, so that it can be resumed, audited and cleaned up."""
