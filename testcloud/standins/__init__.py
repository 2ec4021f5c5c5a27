"""Commands on the PATH of machines, in place of the real ones."""
