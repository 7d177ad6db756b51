"""What suits a model: said in its metadata, shown by its layers, or in its title."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.errors import ModelFileError
from webui.weights.defaults import DEFAULTS_KEY, LCM, NAMES, SD_TURBO, Defaults, defaults_of
from webui.weights.files import Header, TensorInfo
from webui.weights.hints import hint_of

LCM_KEY = "model.diffusion_model.time_embedding.cond_proj.weight"
TURBO_KEY = "conditioner.embedders.0.model.ln_final.weight"
LABEL_KEY = "model.diffusion_model.label_emb.0.0.weight"


def header(*keys: str, **metadata: str) -> Header:
    return Header(tensors={key: TensorInfo(shape=(1, 1), dtype="F16") for key in keys}, metadata=metadata)


def test_layers_tell_lcm_and_sd_turbo() -> None:
    assert defaults_of(header(LCM_KEY)) == defaults_of(header(LCM_KEY, LABEL_KEY)) == LCM
    assert defaults_of(header(TURBO_KEY)) == SD_TURBO
    assert defaults_of(header(TURBO_KEY, LABEL_KEY)) == defaults_of(header()) == Defaults()  # the first is the refiner


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("SDXL Turbo 1.0", Defaults(steps=4, scale=1, sampler="Euler a")),
        ("sdxl_lightning_8step", Defaults(steps=8, scale=1, sampler="Euler")),
        ("Juggernaut XL v9", Defaults()),
        ("hyper realistic", Defaults()),
        ("turbocharged", Defaults()),
        ("x" * 100_000 + " turbo", Defaults()),
    ],
)
@pytest.mark.parametrize("key", ["modelspec.title", "modelspec.architecture", "ss_output_name"])
def test_a_title_tells_distilled_models(title: str, expected: Defaults, key: str) -> None:
    assert defaults_of(header(**{key: title})) == expected


def test_what_a_file_says_outright_counts_most() -> None:
    own = {DEFAULTS_KEY: json.dumps({"steps": 2}), "modelspec.title": "Lightning"}
    assert defaults_of(header(LCM_KEY, **own)) == Defaults(steps=2, scale=LCM.scale, sampler=LCM.sampler)
    assert defaults_of(header(**own)) == Defaults(steps=2, scale=1, sampler="Euler")


@pytest.mark.parametrize(
    ("name", "word", "steps"),
    [
        ("DreamShaperXL_Turbo_v2", "Turbo", 4), ("realvisV40Turbo", "Turbo", 4), ("sdxl_lightning_4step_unet", "Lightning", 4),
        ("Hyper-SDXL-8steps-lora", "Hyper", 8), ("Hyper-SD15-1step", "Hyper", 1), ("LCM_Dreamshaper_v7", "LCM", 4),
        ("lightning 20steps", "Lightning", 4),
    ],
)  # fmt: skip
def test_words_in_names(name: str, word: str, steps: int) -> None:
    hint = hint_of(name)
    assert hint is not None and (hint.word, hint.steps) == (word, steps)


@pytest.mark.parametrize("name", ["sd_xl_base_1.0", "turbine", "enlightening", "hyperRealism", "Hyper Realistic", "calcm", ""])
def test_other_names_say_nothing(name: str) -> None:
    assert hint_of(name) is None


@given(st.text(max_size=300))
def test_any_name_is_read(name: str) -> None:
    hint = hint_of(name)
    assert hint is None or 1 <= hint.steps <= 16


def own(text: str) -> Header:
    return header(**{DEFAULTS_KEY: text})


def test_a_file_may_say_what_suits_it() -> None:
    text = json.dumps({"scale": 5, "steps": 4, "sampler": "Euler", "schedule": "Karras", "more": []})
    assert defaults_of(own(text)) == Defaults(scale=5, steps=4, sampler="Euler", schedule="Karras")
    for text, scale in (("{}", None), ('{"scale": 4.5, "more": []}', 4.5), ('{"scale": null}', None), ('{"scale": 0}', 0)):
        assert defaults_of(own(text)) == Defaults(scale=scale)


@pytest.mark.parametrize("value", ["99", "-1", "1e300", "NaN", "Infinity", '"5"', "true", "[5]", '{"scale": 5}'])
def test_what_nobody_could_set_is_refused_when_the_file_is_chosen(value: str) -> None:
    with pytest.raises(ModelFileError, match=r"webui\.defaults cannot be used: CFG scale was .*from 0 to 30"):
        defaults_of(own(f'{{"scale": {value}}}'))


@pytest.mark.parametrize("text", ['{"steps": 0}', '{"steps": 4.5}', '{"sampler": 3}', '{"schedule": "\\u0000"}'])
def test_other_settings_are_checked_too(text: str) -> None:
    with pytest.raises(ModelFileError, match=r"webui\.defaults cannot be used"):
        defaults_of(own(text))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
SCRAPS = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4))


@settings(deadline=None, max_examples=100)
@given(st.text() | SCRAPS.map(json.dumps) | st.tuples(st.sampled_from(NAMES), SCRAPS).map(lambda pair: json.dumps(dict([pair]))))
def test_any_json_gives_defaults_or_a_sentence(text: str) -> None:
    try:
        found = defaults_of(own(text))
    except ModelFileError as error:
        assert str(error).endswith(".")
    else:
        assert found.scale is None or 0 <= found.scale <= 30


def test_json_as_deep_as_can_be_is_a_sentence() -> None:
    for deep in ("[" * 100_000, '{"scale":' * 50_000, '{"scale": ' + "[" * 900 + "]" * 900 + "}"):
        with pytest.raises(ModelFileError, match=r"webui\."):
            defaults_of(own(deep))
