"""Workers on EC2."""
