"""The Pulumi provider `aws`."""
