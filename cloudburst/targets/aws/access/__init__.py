"""By what right AWS is called."""
