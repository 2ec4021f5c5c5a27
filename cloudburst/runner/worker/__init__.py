"""One worker of a run: from its launch to its last scene."""
