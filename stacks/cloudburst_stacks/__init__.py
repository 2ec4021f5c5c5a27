"""The Pulumi programs: the resources of one worker, per target."""
