"""Which kept pictures something still refers to: a picture of the gallery, a job, or a tab as it was left."""

from __future__ import annotations

from webui.service.database import Database

OF_PICTURES = (
    "SELECT user, value FROM pictures, json_each(request, '$.inputs')",
    "SELECT user, value FROM pictures, json_each(maps) WHERE maps != '{}'",
)
OF_TABS = (
    "SELECT user, CASE each.type WHEN 'object' THEN json_extract(each.value, '$.digest') END AS value FROM preferences, "
    "json_each(CASE WHEN json_valid(preferences.value) THEN preferences.value ELSE '{}' END) AS each WHERE area LIKE '% inputs'"
)
OF_JOBS = "SELECT user, value FROM jobs, json_each(request, '$.inputs') WHERE ended IS NULL OR ended > ?"
OF_GROUPS = "SELECT user, value FROM groups, json_each(inputs) WHERE ended IS NULL OR ended > ?"
NEEDED = (
    "SELECT 1 FROM pictures WHERE user = ? AND (instr(request, ?) OR instr(maps, ?))",
    "SELECT 1 FROM jobs WHERE user = ? AND ended IS NULL AND (instr(request, ?) OR instr(request, ?))",
    "SELECT 1 FROM groups WHERE user = ? AND ended IS NULL AND (instr(inputs, ?) OR instr(inputs, ?))",
)
NEVER = 1e18  # seconds: later than anything ended


def referred(database: Database, *, jobs_ended_after: float | None) -> set[tuple[int, str]]:
    """Users and digests: of their pictures and tabs, and of their jobs that have not ended, or ended after a time."""
    rows = [row for query in (*OF_PICTURES, OF_TABS) for row in database.all(query)]
    since = NEVER if jobs_ended_after is None else jobs_ended_after
    rows += [row for query in (OF_JOBS, OF_GROUPS) for row in database.all(query, (since,))]
    return {(row["user"], row["value"]) for row in rows}


def is_needed(database: Database, user: int, digest: str) -> bool:
    """Whether a user's picture, or a job of theirs that has not ended, is made of that."""
    return any(database.one(query, (user, digest, digest)) is not None for query in NEEDED)
