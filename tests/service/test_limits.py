"""What is too much for one person is refused before it is queued, with a sentence for each limit."""

from __future__ import annotations

from typing import Any

import pytest

from webui.errors import TooMany, UserError
from webui.request import Request
from webui.service.limits import UserLimits
from webui.tasks import LATENT

LIMITS = UserLimits(queue=3, pixels=512 * 512, steps=50, count=4)


def request(**more: Any) -> Request:
    common: dict[str, Any] = {"model": "m", "prompt": "", "steps": 50, "sampler": "Euler", "schedule": "Karras", "scale": 1.0}
    return Request(**common | {"seed": 1, "width": 512, "height": 512, "count": 4} | more)


def test_what_is_just_allowed_passes() -> None:
    LIMITS.check(request(), 2)
    LIMITS.check(request(width=256, height=1024), 0)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"width": 520}, r"520x512, 266,240 pixels; here a picture has at most 262,144"),
        ({"steps": 51}, "Steps was 51; here it is at most 50"),
        ({"count": 5}, "Count was 5; here a job has at most 4 pictures"),
    ],
)
def test_what_is_too_large_gets_a_sentence(more: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        LIMITS.check(request(**more), 0)


@pytest.mark.parametrize("task", ["img2img", "depth"])
def test_a_picture_that_is_encoded_at_its_own_size_counts(task: str) -> None:
    more = {"task": task, "inputs": {"picture": "0" * 64}, "strength": 0.5}
    LIMITS.check(request(**more), 0, (4096, 4096))
    with pytest.raises(UserError, match="such that 16,777,216 pixels are worked at"):
        LIMITS.check(request(**more, resize_mode=LATENT), 0, (4096, 4096))
    LIMITS.check(request(**more, resize_mode=LATENT), 0, (512, 512))


def test_a_full_queue_is_another_kind_of_refusal() -> None:
    with pytest.raises(TooMany, match="You have 3 jobs that have not ended, and may have 3"):
        LIMITS.check(request(), 3)


def test_the_limits_unless_told_allow_everything_that_parameters_do() -> None:
    UserLimits().check(request(width=4096, height=4096, steps=150, count=100), 49)
