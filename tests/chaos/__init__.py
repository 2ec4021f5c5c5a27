"""What comes in is bad: files, answers, requests, and workers."""
