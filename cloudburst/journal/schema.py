"""The tables of a journal, and how a journal of an earlier release becomes one of this release.

A journal carries the number of its layout as SQLite's ``user_version``. Layout 0 is that of the
releases which did not number theirs.
"""

from __future__ import annotations

from cloudburst.language import tr

LAYOUT = 5

TABLES = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL, started REAL NOT NULL, host TEXT NOT NULL,
    began REAL NOT NULL, seconds REAL NOT NULL DEFAULT 0, outcome TEXT
);
CREATE TABLE launch (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, batch TEXT NOT NULL, label TEXT NOT NULL, stack TEXT NOT NULL,
    type TEXT NOT NULL, market TEXT NOT NULL, region TEXT NOT NULL, zone TEXT NOT NULL,
    usd_per_hour REAL, price_source TEXT,
    began REAL NOT NULL, expires REAL,
    worker TEXT, endpoint TEXT, room INTEGER NOT NULL,
    state TEXT NOT NULL, scenes_done INTEGER NOT NULL DEFAULT 0,
    spans TEXT NOT NULL DEFAULT '[]', destroyed INTEGER NOT NULL DEFAULT 0,
    code TEXT, error TEXT, target TEXT NOT NULL DEFAULT '',
    renderer TEXT NOT NULL DEFAULT '', sent INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE rental (
    machine TEXT NOT NULL, stack TEXT NOT NULL,
    type TEXT NOT NULL, market TEXT NOT NULL, region TEXT NOT NULL, zone TEXT NOT NULL,
    usd_per_hour REAL NOT NULL, price_source TEXT NOT NULL, basis TEXT NOT NULL,
    since REAL NOT NULL, until REAL, expires REAL NOT NULL,
    disk_gb INTEGER NOT NULL, disk_rate REAL NOT NULL, disk_basis TEXT NOT NULL,
    surplus REAL NOT NULL, at_most INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (machine, stack)
);
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, scene TEXT NOT NULL, worker TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    began REAL NOT NULL, rendered REAL, ended REAL, error TEXT,
    sent INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE artifact (
    scene TEXT PRIMARY KEY, fingerprint TEXT NOT NULL,
    path TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, frames INTEGER NOT NULL,
    scenario TEXT NOT NULL, warnings TEXT NOT NULL, superseded INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE renewal (launch INTEGER NOT NULL, at REAL NOT NULL, until REAL NOT NULL);
"""

# In order: the statements that turn layout N, the position, into layout N + 1.
MIGRATIONS = (
    # Workers of one run may be on different targets; before, all were on the run's.
    """
    ALTER TABLE launch ADD COLUMN target TEXT NOT NULL DEFAULT '';
    UPDATE launch
       SET target = coalesce((SELECT value FROM run WHERE name = 'target'), '');
    """,
    # Before, a machine's end was always the moment at which it was seen to be gone.
    """
    ALTER TABLE rental ADD COLUMN at_most INTEGER NOT NULL DEFAULT 1;
    """,
    # What rendered, and how many bytes were sent to it, was not noted.
    """
    ALTER TABLE launch ADD COLUMN renderer TEXT NOT NULL DEFAULT '';
    ALTER TABLE attempt ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
    """,
    # When machines' leases were renewed was not noted.
    """
    CREATE TABLE renewal (launch INTEGER NOT NULL, at REAL NOT NULL, until REAL NOT NULL);
    """,
    # Nor how many bytes of the video API's files were sent to a machine.
    """
    ALTER TABLE launch ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
    """,
)


def upgrade(layout: int) -> str:
    """Return the statements that bring a journal to this release's layout, in one transaction.

    Args:
        layout: the journal's ``user_version``; -1 for a database without tables.

    Raises:
        ValueError: the journal is of a later release.
    """
    if layout > LAYOUT:
        raise ValueError(
            tr(
                "its layout {layout} is of a later release; this one knows up to {known}",
                layout=layout,
                known=LAYOUT,
            )
        )
    if layout == LAYOUT:
        return ""
    changes = TABLES if layout < 0 else "".join(MIGRATIONS[layout:])
    return f"BEGIN; {changes} PRAGMA user_version = {LAYOUT}; COMMIT;"
