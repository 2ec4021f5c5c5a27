"""The worker agent: what a rented machine runs besides the containers of the video API.

It answers over TLS from the machine's first second, tells how far the boot is and why it failed,
hands scenes to the containers as jobs, and ends the machine when nobody has asked for a while. It
goes to the machine in its user-data, without comments, and runs there as root's unit: so it uses
the standard library alone, of Python 3.9, which Amazon Linux 2023 has, and nothing of this package.
docs/protocol.md describes its requests.

Who has no key learns nothing, and can only hold a few connections for a few seconds. The runner is
trusted with the machine, since it has made it. Containers are not: they are on loopback ports, have
keys of their own, and their answers are bounded.
"""
