"""A file's name says which settings suit a distilled model, and never anything else."""

from __future__ import annotations

import pytest

from webui.service.name_hints import hint_of


@pytest.mark.parametrize(
    ("name", "word", "steps"),
    [
        ("sd_xl_turbo_1.0_fp16", "Turbo", 4), ("realvisxlV40Turbo", "Turbo", 4), ("DreamShaperXL_v21TurboDPMSDE", "Turbo", 4),
        ("sdxl_lightning_4step", "Lightning", 4), ("sdxl_lightning_8step_unet", "Lightning", 8), ("SDXL-LIGHTNING 2 steps", "Lightning", 2),
        ("juggernautXL_v9Rdphoto2Lightning", "Lightning", 4), ("LCM_Dreamshaper_v7", "LCM", 4), ("lcmRealism", "LCM", 4),
        ("Hyper-SDXL-12steps", "Hyper", 12), ("hyper_sd15", "Hyper", 8),
    ],
)  # fmt: skip
def test_words_of_distilled_models_are_found_and_their_steps(name: str, word: str, steps: int) -> None:
    hint = hint_of(name)
    assert hint is not None and (hint.word, hint.steps, hint.scale) == (word, steps, 1.0)


@pytest.mark.parametrize("name", [
    "v1-5-pruned-emaonly", "turbocharged", "enlightning", "HyperRealistic_v1", "hyper-realism", "calcmodel", "4step", "", "dream 20 steps",
])  # fmt: skip
def test_other_names_say_nothing(name: str) -> None:
    assert hint_of(name) is None


def test_a_number_of_steps_that_no_such_model_has_is_not_taken() -> None:
    for name in ("lightning_100steps", "lightning 24 step", "lightning4stepping"):
        hint = hint_of(name)
        assert hint is not None and hint.steps == 4
