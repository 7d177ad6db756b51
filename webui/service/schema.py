"""The tables of the program's database: the steps that lead from each version to the next; a step that shipped never changes."""

from __future__ import annotations

FIRST = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    owner INTEGER NOT NULL DEFAULT 0,      -- 1: may do everything; user 1 always is, and is who works on 127.0.0.1
    password TEXT,                         -- salted hash; NULL: cannot sign in
    created REAL NOT NULL
) STRICT;
INSERT INTO users (id, name, owner, created) VALUES (1, 'owner', 1, (julianday('now') - 2440587.5) * 86400.0);

CREATE TABLE sessions (
    token TEXT PRIMARY KEY,                -- SHA-256 of the cookie's token
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    created REAL NOT NULL,
    seen REAL NOT NULL,
    ends REAL NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,                   -- random
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    kind TEXT NOT NULL,                    -- 'txt2img', ...
    request TEXT NOT NULL,                 -- JSON of the resolved request
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'interrupted')),
    place REAL NOT NULL,                   -- order among the waiting jobs of one user
    pictures INTEGER NOT NULL,             -- wanted
    attempts INTEGER NOT NULL DEFAULT 0,   -- how often it began since it last got a picture; above 1 after the program was killed
    turn INTEGER NOT NULL DEFAULT 0,       -- rises with every job that begins, 0 before; whose last is lowest is served next
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    sentence TEXT NOT NULL DEFAULT '',     -- why it failed or began again
    error TEXT NOT NULL DEFAULT ''         -- id that finds the failure in the log
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, user, place);
CREATE INDEX jobs_by_user ON jobs (user, created);
CREATE INDEX jobs_by_turn ON jobs (user, turn);

CREATE TABLE events (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
    number INTEGER NOT NULL,               -- from 1, without gaps
    kind TEXT NOT NULL,
    data TEXT NOT NULL,                    -- JSON
    at REAL NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE pictures (
    number INTEGER PRIMARY KEY,            -- rises with time
    id TEXT NOT NULL UNIQUE,               -- random; the name by which the page may ask for it
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    job TEXT REFERENCES jobs ON DELETE SET NULL,
    place INTEGER NOT NULL,                -- number in its job, from 0
    path TEXT NOT NULL UNIQUE,             -- below the program's folder, or whole where it is elsewhere
    bytes INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    seed TEXT NOT NULL,                    -- decimal: seeds do not fit into 63 bits
    prompt TEXT NOT NULL,
    parameters TEXT NOT NULL,              -- the text that is in the file
    request TEXT NOT NULL,                 -- JSON
    interrupted INTEGER NOT NULL DEFAULT 0,
    starred INTEGER NOT NULL DEFAULT 0,
    trashed REAL,                          -- when, or NULL
    created REAL NOT NULL
) STRICT;
CREATE INDEX pictures_by_user ON pictures (user, trashed, number);
CREATE UNIQUE INDEX pictures_of_job ON pictures (job, place);

CREATE TABLE saving (                      -- pictures about to be written: what a killed program left is found by this
    path TEXT PRIMARY KEY,                 -- absolute
    row TEXT NOT NULL                      -- JSON of the row that pictures will get
) STRICT, WITHOUT ROWID;

CREATE TABLE inputs (
    digest TEXT NOT NULL,                  -- SHA-256 of the file's bytes, which is its name too
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    bytes INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    kind TEXT NOT NULL,                    -- 'image/png', ...
    created REAL NOT NULL,
    PRIMARY KEY (digest, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE styles (
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    prompt TEXT NOT NULL,
    negative TEXT NOT NULL,
    PRIMARY KEY (user, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE preferences (
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    area TEXT NOT NULL,                    -- 'settings', 'txt2img' (state of its controls), 'txt2img defaults', ...
    value TEXT NOT NULL,                   -- JSON
    PRIMARY KEY (user, area)
) STRICT, WITHOUT ROWID;
"""

PICTURES_IN = """
ALTER TABLE inputs ADD COLUMN transparent INTEGER NOT NULL DEFAULT 0;   -- 1: something shows through
ALTER TABLE inputs ADD COLUMN made INTEGER NOT NULL DEFAULT 0;          -- 1: a map that was made here; it counts for nobody
ALTER TABLE pictures ADD COLUMN maps TEXT NOT NULL DEFAULT '{}';        -- JSON: digests among the inputs, by name
"""

GROUPS = """
ALTER TABLE jobs ADD COLUMN grouped TEXT NOT NULL DEFAULT '';   -- the group that it is a cell of, '' for one by itself

CREATE TABLE groups (                      -- jobs that were asked for together, and become one grid
    id TEXT PRIMARY KEY,                   -- random
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    script TEXT NOT NULL,                  -- the title of what planned it
    kind TEXT NOT NULL,                    -- of its jobs
    layout TEXT NOT NULL,                  -- JSON: how the grid looks
    inputs TEXT NOT NULL,                  -- JSON: digests by name
    state TEXT NOT NULL CHECK (state IN ('running', 'drawing', 'done', 'failed', 'cancelled')),
    sentence TEXT NOT NULL DEFAULT '',     -- why there is no grid
    grid TEXT REFERENCES pictures (id) ON DELETE SET NULL,
    created REAL NOT NULL,
    ended REAL
) STRICT;
CREATE INDEX groups_by_user ON groups (user, created);
CREATE INDEX groups_by_state ON groups (state, created);
CREATE INDEX groups_by_grid ON groups (grid);

CREATE TABLE cells (
    grouped TEXT NOT NULL REFERENCES groups ON DELETE CASCADE,
    place INTEGER NOT NULL,                -- in the grid, from 0
    turn INTEGER NOT NULL,                 -- when it is queued: the cells of one model after each other
    pictures INTEGER NOT NULL,             -- wanted
    state TEXT NOT NULL CHECK (state IN ('waiting', 'queued', 'done', 'failed', 'cancelled')),
    job TEXT REFERENCES jobs ON DELETE SET NULL,
    picture TEXT REFERENCES pictures (id) ON DELETE SET NULL,
    sentence TEXT NOT NULL DEFAULT '',     -- why there is no picture
    labels TEXT NOT NULL,                  -- JSON
    request TEXT NOT NULL,                 -- JSON of the resolved request
    PRIMARY KEY (grouped, place)
) STRICT;
CREATE INDEX cells_by_state ON cells (state, grouped);
CREATE INDEX cells_of_group ON cells (grouped, state, turn);
CREATE INDEX cells_by_job ON cells (job);
CREATE INDEX cells_by_picture ON cells (picture);
"""

STEPS: tuple[str, ...] = (FIRST, PICTURES_IN, GROUPS)
"""`STEPS[n]` leads from version n to n + 1; a database's version is its `user_version`."""
