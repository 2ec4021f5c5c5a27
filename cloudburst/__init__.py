"""CloudBurst: scenes become videos on machines that exist for exactly that long."""
