"""Machines: process trees that execute their user data, and the network before them."""
