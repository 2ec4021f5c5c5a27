"""A double of AWS on one machine: real engine, real HTTP, instances that are real processes."""
