"""What is done without anybody asking: each trash keeps what its owner wants kept, new files appear, a failure is no end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.service.shelf import ANNA, BOB, OWNER, Clock, Shelf, pixels, shelf
from webui.errors import StorageError
from webui.service import gallery
from webui.service.inputs import Inputs
from webui.service.preferences import Preferences
from webui.service.upkeep import DAY, Upkeep


@pytest.fixture
def full(tmp_path: Path) -> Shelf:
    return shelf(tmp_path)


def upkeep(full: Shelf) -> Upkeep:
    studio = SimpleNamespace(
        database=full.database, pictures=full.pictures, preferences=Preferences(full.database),
        inputs=Inputs(full.database, full.root, Clock()), users=SimpleNamespace(all=lambda: [OWNER, ANNA, BOB]),
    )  # fmt: skip
    return Upkeep(studio, full.clock)  # type: ignore[arg-type]


def test_each_trash_is_emptied_after_the_days_its_owner_wants(full: Shelf) -> None:
    preferences = Preferences(full.database)
    preferences.change(ANNA, {"trash_days": 2})
    preferences.change(BOB, {"trash_days": 0})
    hers, his, owners = (full.add(user, seed=user.id) for user in (ANNA, BOB, OWNER))
    for user, name in ((ANNA, hers), (BOB, his), (OWNER, owners)):
        full.pictures.trash(user, [name])
    kept = upkeep(full)
    for days, left in ((1.9, [hers, his, owners]), (2.1, [his, owners]), (29, [his, owners]), (31, [his]), (4000, [his])):
        full.clock.now = Clock().now + days * DAY
        kept.once()
        found = [name for user in (ANNA, BOB, OWNER) for name in full.ids(user, trashed=True)]
        assert found == left, days


def test_new_files_appear(full: Shelf) -> None:
    gallery.save(full.pictures.outputs, pixels(8, 1), 1, "a ball\nSteps: 1, Seed: 1, Size: 8x8")
    upkeep(full).once()
    assert len(full.ids(OWNER)) == 1


def test_a_file_that_cannot_be_deleted_holds_up_nobody_else(full: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    hers, his = full.add(ANNA, seed=1), full.add(BOB, seed=2)
    full.pictures.trash(ANNA, [hers])
    full.pictures.trash(BOB, [his])
    real = full.pictures.empty_trash

    def empty(user: int, older_than: float) -> int:
        if user == ANNA.id:
            raise StorageError("No.")
        return real(user, older_than)

    monkeypatch.setattr(full.pictures, "empty_trash", empty)
    full.clock.now += 31 * DAY
    upkeep(full).once()
    assert full.ids(ANNA, trashed=True) == [hers] and full.ids(BOB, trashed=True) == []
