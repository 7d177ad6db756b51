"""Which kept pictures something still refers to: a picture of the gallery, or a job."""

from __future__ import annotations

from webui.service.database import Database

OF_PICTURES = (
    "SELECT user, value FROM pictures, json_each(request, '$.inputs')",
    "SELECT user, value FROM pictures, json_each(maps) WHERE maps != '{}'",
)
OF_JOBS = "SELECT user, value FROM jobs, json_each(request, '$.inputs') WHERE ended IS NULL OR ended > ?"
NEVER = 1e18  # seconds: later than anything ended


def referred(database: Database, *, jobs_ended_after: float | None) -> set[tuple[int, str]]:
    """Users and digests: of their pictures, and of their jobs that have not ended, or ended after a time."""
    rows = [row for query in OF_PICTURES for row in database.all(query)]
    rows += database.all(OF_JOBS, (NEVER if jobs_ended_after is None else jobs_ended_after,))
    return {(row["user"], row["value"]) for row in rows}
