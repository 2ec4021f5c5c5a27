"""What dead runs have left behind: found by an audit, removed by a cleanup."""
