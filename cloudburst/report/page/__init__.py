"""report.html: a run as one page that needs no network, no server and no other file."""
