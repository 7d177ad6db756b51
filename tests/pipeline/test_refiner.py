"""The hand-over to a second model: at the noise level that was said, with its own texts, among models that share latents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.test_conditioning import POOLED, REFINER, REQUEST, TOKENIZER, encoded, model
from tests.tiny_checkpoint import SPEC
from webui.errors import UserError
from webui.nets.spec import ModelSpec
from webui.pipeline.generate import Model, generate
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.protocol import Decode, Encode, Interrupted, Moment, Rows, answer_all
from webui.pipeline.refiner import is_over
from webui.pipeline.schedules import SCHEDULES
from webui.request import Request

TABLE = NoiseTable.from_betas()
FIRST = Model(name="first", spec=SPEC, tokenizers=(TOKENIZER,))
SECOND = replace(FIRST, name="second")


def asks(request: Request, first: Model = FIRST, second: Model | None = SECOND, patches: Patches = NO_PATCHES) -> list[Any]:
    """All that a generation asks; the clean latent is always 0."""
    found = []

    def answer(ask: Any) -> Any:
        found.append(ask)
        match ask:
            case Encode():
                return encoded(ask)
            case Rows():
                return tuple(torch.zeros_like(row.x) for row in ask.rows)
            case Decode():
                return ask.latent[:3]

    answer_all(generate(request, first, patches=patches, refiner=second), answer)
    return found


def networks(found: list[Any]) -> list[str]:
    """Whose rows were asked, step by step."""
    return [ask.rows[0].network for ask in found if isinstance(ask, Rows)]


def test_the_second_model_takes_over_and_its_texts_are_asked_for_only_then() -> None:
    wanted = replace(REQUEST, steps=10, schedule="Uniform", refiner="second", refiner_switch_at=0.8)
    found = asks(wanted)
    assert networks(found) == ["first"] * 8 + ["second"] * 2
    kinds = [(type(ask).__name__, ask.network if isinstance(ask, Encode) else "") for ask in found]
    texts = [index for index, (kind, _) in enumerate(kinds) if kind == "Encode"]
    assert [kinds[index][1] for index in texts] == ["first", "first", "second", "second"]
    assert [kind for kind, _ in kinds[texts[2] + 2 :]] == ["Rows", "Rows", "Decode"]
    assert found[-1].network == "first"


@pytest.mark.parametrize(("switch_at", "second"), [(0.0, 10), (1.0, 0), (0.5, 5), (None, 2)])
def test_where_it_takes_over_is_said_by_the_request(switch_at: float | None, second: int) -> None:
    found = networks(asks(replace(REQUEST, steps=10, schedule="Uniform", refiner_switch_at=switch_at)))
    assert found.count("second") == second and found == sorted(found)


def test_without_a_second_model_nothing_is_handed_over() -> None:
    assert set(networks(asks(replace(REQUEST, refiner_switch_at=0.1), second=None))) == {"first"}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' schedule
@given(steps=st.integers(1, 60), switch_at=st.integers(1, 99), spacing=st.sampled_from(["leading", "trailing", "linspace"]))
@settings(max_examples=60, deadline=None)
def test_it_takes_over_where_diffusers_does(steps: int, switch_at: int, spacing: str) -> None:
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing=spacing, steps_offset=1
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    times = [round(float(t)) for t in scheduler.timesteps]
    cutoff = round(1000 - switch_at / 100 * 1000)  # what its pipelines make of denoising_end
    over = is_over(TABLE, switch_at / 100)
    found = [over(Moment(TABLE.sigma_of(t), 0, steps)) for t in times]
    assert found == [t < cutoff for t in times]


def test_crowded_low_noise_levels_are_the_second_model_s() -> None:
    found = networks(asks(replace(REQUEST, steps=10, schedule="Karras", refiner_switch_at=0.8)))
    times = [TABLE.t_of(sigma) for sigma in SCHEDULES["Karras"](10, TABLE)[:-1]]
    assert found == ["first" if t >= 199.5 else "second" for t in times] and found.count("second") > 2


def test_the_refiner_gets_its_own_texts_and_none_of_the_first_model_s_patches() -> None:
    base, refiner = model(), replace(model(REFINER), name="refiner")
    refiner = replace(refiner, spec=replace(refiner.spec, text=refiner.spec.text[1:]), tokenizers=(TOKENIZER,))
    mark = Patches(attention=(object(),), padding="circular")
    found = asks(replace(REQUEST, steps=10, schedule="Uniform"), base, refiner, mark)
    texts = [ask for ask in found if isinstance(ask, Encode)]
    assert [(ask.network, len(ask.chunks)) for ask in texts] == [("m", 2), ("m", 2), ("refiner", 1), ("refiner", 1)]
    rows = [row for ask in found if isinstance(ask, Rows) for row in ask.rows]
    assert {(row.network, len(row.patches.attention), row.patches.padding, len(row.conditioning.vector)) for row in rows} == {
        ("m", 1, "circular", POOLED + 6 * 256), ("refiner", 0, "circular", POOLED + 5 * 256),
    }  # fmt: skip


def changed(**numbers: Any) -> ModelSpec:
    return replace(SPEC, vae=replace(SPEC.vae, **numbers))


@pytest.mark.parametrize(
    "spec", [changed(scale=0.13025), changed(latent_channels=8), changed(shift=0.1), changed(channel_mult=(1, 2))]
)
def test_models_with_other_latents_are_refused_before_the_first_step(spec: ModelSpec) -> None:
    with pytest.raises(UserError, match=r"'second' .* cannot go on with the latents of 'first'"):
        asks(REQUEST, second=replace(SECOND, spec=spec))


def test_a_second_model_that_predicts_otherwise_is_welcome() -> None:
    spec = replace(SPEC, prediction="eps", title="Other")
    assert "second" in networks(asks(replace(REQUEST, schedule="Uniform", steps=10), second=replace(SECOND, spec=spec)))


def test_an_interrupt_while_the_refiner_s_texts_are_read_keeps_the_picture() -> None:
    generation = generate(replace(REQUEST, steps=10, schedule="Uniform"), FIRST, refiner=SECOND)
    sent: Any = None
    while True:
        ask = generation.send(sent)
        if isinstance(ask, Encode) and ask.network == "second":
            break
        sent = encoded(ask) if isinstance(ask, Encode) else None
        if isinstance(ask, Rows):
            sent = tuple(torch.zeros_like(row.x) for row in ask.rows)
    kept = torch.ones(4, 4, 8)
    decode = generation.throw(Interrupted(kept))
    assert isinstance(decode, Decode) and decode.latent is kept and decode.network == "first"


def test_another_autoencoder_is_asked_for_by_its_name() -> None:
    generation, sent = generate(REQUEST, FIRST, vae="other"), None
    while not isinstance(ask := generation.send(sent), Decode):
        sent = encoded(ask) if isinstance(ask, Encode) else None
        if isinstance(ask, Rows):
            sent = tuple(torch.zeros_like(row.x) for row in ask.rows)
    assert (ask.network, ask.vae) == ("first", "other")
