"""The Pulumi programs: what one batch is, per target."""
