"""Guidance by its formulas: parts with weights, an interval, sparse negative prompts, rescaling, pairs; and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.pipeline.answering import MODEL, REQUEST, Engine, made
from webui.pipeline.generate import Registry
from webui.pipeline.guidance import PAIRED_PART, PLAIN, Options, distilled, guidance_of, guided, plain_row, rescaled
from webui.pipeline.inpaint import kept
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Conditioning, Moment, Row, Rows, Step, answer_all
from webui.pipeline.refiner import handed_over
from webui.pipeline.samplers import SAMPLERS, SamplerInfo, moments
from webui.pipeline.texts import Part, Texts, constant

SHAPE = (4, 3, 5)
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9)) * 3
START = Moment(2.0, 0, 10)
WEIGHTS = st.floats(-2, 2).map(lambda weight: round(weight, 2)).filter(lambda weight: weight != 0)
SCALES = st.floats(0.5, 20).map(lambda scale: round(scale, 2))


def seen(value: float) -> Tensor:
    """What the stand-in predicts for the text of a value."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(round(value)))


def text(value: float) -> Conditioning:
    return Conditioning(torch.full((1, 1), value))


def texts(*weights: float) -> Texts:
    """Parts 1, 2, ... of these weights; the negative prompt is 100."""
    parts = tuple(Part(course=constant(text(1.0 + index)), weight=weight) for index, weight in enumerate(weights))
    return Texts(parts=parts, course=constant(text(100.0)))


class Network:
    """Answers rows and keeps them."""

    def __init__(self) -> None:
        self.rows: list[list[Row]] = []

    def __call__(self, ask: Any) -> tuple[Tensor, ...]:
        assert isinstance(ask, Rows)
        self.rows.append(list(ask.rows))
        return tuple(seen(float(row.conditioning.tokens)) for row in ask.rows)

    @property
    def asked(self) -> list[list[int]]:
        """Whose rows each call had."""
        return [[round(float(row.conditioning.tokens)) for row in rows] for rows in self.rows]


def answer(of: Texts, scale: float, options: Options = PLAIN, at: Moment = START) -> tuple[Any, list[int]]:
    """What the denoiser answers, and whose rows it asked."""
    network = Network()
    found = answer_all(guided(of, scale, plain_row(), options)(X, at), network)
    assert len(network.rows) == 1
    return found, network.asked[0]


C, U = seen(1), seen(100)


@given(scale=SCALES)
@settings(max_examples=30, deadline=None)
def test_one_part_is_guided_as_ever(scale: float) -> None:
    found, asked = answer(texts(1.0), scale)
    assert torch.equal(found, C if scale == 1 else U + scale * (C - U)) and asked == ([1] if scale == 1 else [1, 100])


@given(weights=st.lists(WEIGHTS, min_size=1, max_size=4), scale=SCALES)
@settings(max_examples=60, deadline=None)
def test_parts_pull_by_their_weights(weights: list[float], scale: float) -> None:
    found, asked = answer(texts(*weights), scale)
    expected = U + sum(scale * weight * (seen(1 + index) - U) for index, weight in enumerate(weights))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert asked == [*range(1, 1 + len(weights)), *([] if sum(weights) * scale == 1 else [100])]


def test_rows_that_do_not_count_are_not_asked_for() -> None:
    assert answer(texts(1.0, 0.0, 0.5), 7.0)[1] == [1, 3, 100]
    found, asked = answer(texts(0.25, 0.25), 2.0)  # the way to the unconditional prediction is gone whole
    assert asked == [1, 2]
    torch.testing.assert_close(found, 0.5 * seen(1) + 0.5 * seen(2))
    for of, scale in ((texts(1.0, 2.0), 0.0), (texts(0.0), 7.0)):
        found, asked = answer(of, scale)
        assert asked == [100] and torch.equal(found, U)


# --- when the negative prompt counts --------------------------------------------------------------------------------------------


def calls(steps: int, evaluations: int) -> list[Moment]:
    """All moments of a sampler's steps, falling evenly from sigma `steps`."""
    return [Moment(float(steps - step), step, steps, each) for step in range(steps) for each in range(evaluations)]


@given(
    steps=st.integers(1, 40), evaluations=st.integers(1, 3), start=st.integers(0, 100), end=st.integers(0, 100),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_interval_is_counted_in_calls(steps: int, evaluations: int, start: int, end: int) -> None:
    options = Options(start=start / 100, end=end / 100, evaluations=evaluations)
    found = [options.counts(at) for at in calls(steps, evaluations)]
    total = steps * evaluations
    early = [bool(start) and 100 * call <= start * total for call in range(total)]
    late = [end < 100 and 100 * call >= end * total for call in range(total)]
    assert found == [not (one or other) for one, other in zip(early, late, strict=True)]


@given(steps=st.integers(1, 40), evaluations=st.integers(1, 3), below=st.floats(0.5, 50), never=st.booleans())
@settings(max_examples=60, deadline=None)
def test_below_a_noise_level_every_other_call_goes_without(steps: int, evaluations: int, below: float, never: bool) -> None:
    options = Options(sparse_below=below, never_below=never, evaluations=evaluations)
    for call, at in enumerate(calls(steps, evaluations)):
        assert options.counts(at) is not (at.sigma < below and (never or call % 2 == 1))


def test_by_default_it_always_counts() -> None:
    assert all(PLAIN.counts(at) for at in [*calls(20, 2), Moment(0.0001, 3, None)])


def test_an_adaptive_sampler_s_way_is_that_of_its_noise_levels() -> None:
    options = Options(start=0.25, end=0.75, place=lambda sigma: 1 - sigma / 10)
    assert [options.counts(Moment(sigma, 0, None)) for sigma in (10, 7.6, 7.4, 2.6, 2.4)] == [False, False, True, True, False]


OFF = Options(end=0.0)


@given(weights=st.lists(WEIGHTS, min_size=1, max_size=4), scale=SCALES)
@settings(max_examples=40, deadline=None)
def test_without_the_negative_prompt_the_first_part_stands_in_for_it(weights: list[float], scale: float) -> None:
    found, asked = answer(texts(*weights), scale, OFF)
    others = sum(weight * (seen(2 + index) - C) for index, weight in enumerate(weights[1:]))
    assert asked == list(range(1, 1 + len(weights)))
    torch.testing.assert_close(found, C + others)
    if len(weights) == 1:
        assert torch.equal(found, C)


def test_a_scale_of_nothing_is_the_negative_prompt_at_any_time() -> None:
    assert answer(texts(1.0), 0.0, OFF)[1] == [100]


# --- rescaling ------------------------------------------------------------------------------------------------------------------


def v_of(denoised: Tensor, sigma: float) -> Tensor:
    """The v prediction that a clean latent stands for: sqrt(a) * eps - sqrt(1 - a) * data."""
    eps = (X - denoised) / sigma
    return (eps - sigma * denoised) / (1 + sigma**2) ** 0.5


@given(scale=st.floats(1.5, 20), part=st.floats(0.05, 1), sigma=st.floats(0.05, 15))
@settings(max_examples=40, deadline=None)
def test_rescaling_is_diffusers_own_of_v(scale: float, part: float, sigma: float) -> None:
    found, asked = answer(texts(1.0), scale, Options(rescale=part), Moment(sigma, 0, 10))
    expected = rescale_noise_cfg(v_of(U + scale * (C - U), sigma)[None], v_of(C, sigma)[None], guidance_rescale=part)[0]
    torch.testing.assert_close(v_of(found, sigma), expected, rtol=1e-3, atol=1e-3)
    assert asked == [1, 100]


def test_rescaled_whole_an_answer_has_the_contrast_of_its_prompt_alone() -> None:
    found, _ = answer(texts(1.0), 9.0, Options(rescale=1.0))
    plain, _ = answer(texts(1.0), 9.0)
    torch.testing.assert_close(v_of(found, 2.0).std(), v_of(C, 2.0).std())
    assert float(v_of(plain, 2.0).std()) > 2 * float(v_of(C, 2.0).std())
    assert torch.equal(answer(texts(1.0), 9.0, Options(rescale=0.0))[0], plain)


@pytest.mark.parametrize(("weights", "scale"), [((0.5,), 2.0), ((0.25, 0.25), 2.0)])
def test_parts_are_rescaled_even_where_all_of_the_way_is_theirs(weights: tuple[float, ...], scale: float) -> None:
    near = answer(texts(*weights), scale * 1.0001, Options(rescale=1.0))[0]
    torch.testing.assert_close(answer(texts(*weights), scale, Options(rescale=1.0))[0], near, rtol=0, atol=1e-2)
    assert not torch.allclose(answer(texts(*weights), scale)[0], near, rtol=0, atol=1e-2)


def test_parts_are_rescaled_to_what_they_say_at_scale_one() -> None:
    found, _ = answer(texts(1.0, -0.5), 9.0, Options(rescale=1.0))
    one, _ = answer(texts(1.0, -0.5), 1.0)
    torch.testing.assert_close(v_of(found, 2.0).std(), v_of(one, 2.0).std())


def test_what_has_no_contrast_is_left_alone() -> None:
    still = X / (1 + 4.0)
    assert torch.equal(rescaled(still, C, X, 2.0, 0.7), still)


# --- pairs ----------------------------------------------------------------------------------------------------------------------

PAIRED = Options(paired=True)


@given(scale=SCALES)
@settings(max_examples=30, deadline=None)
def test_cfg_pp_is_told_both_at_its_own_scale(scale: float) -> None:
    (denoised, u), asked = answer(texts(1.0), scale, PAIRED)
    assert torch.equal(denoised, U + scale / PAIRED_PART * (C - U)) and torch.equal(u, U) and asked == [1, 100]


def test_cfg_pp_is_told_both_whatever_the_rows() -> None:
    for scale, options, expected, asked in (
        (PAIRED_PART, PAIRED, (C, U), [1, 100]), (0.0, PAIRED, (U, U), [100]), (7.0, replace(OFF, paired=True), (C, C), [1]),
    ):  # fmt: skip
        found, rows = answer(texts(1.0), scale, options)
        assert rows == asked
        torch.testing.assert_close(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
    network = Network()
    pair = answer_all(distilled(texts(1.0), 4.0, plain_row(), PAIRED)(X, START), network)
    assert torch.equal(pair[0], C) and torch.equal(pair[1], C) and network.rows[0][0].guidance == 4.0


def test_wrappers_hand_on_pairs() -> None:
    clean, free = torch.full(SHAPE, 7.0), torch.zeros(1, *SHAPE[1:], dtype=torch.bool)
    free[..., 2:] = True
    both = guided(texts(1.0), 7.0, plain_row(), PAIRED)
    plain, _ = answer(texts(1.0), 7.0, PAIRED)
    found = answer_all(kept(both, clean, lambda _: free)(X, START), Network())
    for one, other in zip(found, plain, strict=True):
        assert torch.equal(one, torch.where(free, other, clean)) and not torch.equal(one, other)

    def second() -> Any:
        yield from ()
        return both

    handed = handed_over(guided(texts(2.0), 7.0, plain_row(), PAIRED), second(), lambda at: at.step > 0)
    found = answer_all(handed(X, replace(START, step=1)), Network())
    assert torch.equal(found[0], plain[0]) and torch.equal(found[1], plain[1])
    assert isinstance(answer_all(handed(X, START), Network()), tuple)


# --- of a request ---------------------------------------------------------------------------------------------------------------


def asked_by(**changes: Any) -> list[int]:
    """How many rows each call of a request's picture has, by samplers of one and two evaluations."""
    engine = Engine()
    made(replace(REQUEST, task="txt2img", **{"steps": 10, "schedule": "Uniform", "scale": 5.0, **changes}), engine=engine)
    return [len(ask.rows) for ask in engine.of(Rows)]


def test_a_request_asks_for_as_many_rows_as_it_says() -> None:
    assert asked_by() == [2] * 10
    assert asked_by(guidance_start=0.2) == [1] * 3 + [2] * 7  # A1111's "Skip Early CFG" skips the step at that part too
    assert asked_by(guidance_end=0.5) == [2] * 5 + [1] * 5
    assert asked_by(guidance_start=0.2, guidance_end=0.5) == [1] * 3 + [2] * 2 + [1] * 5
    assert asked_by(ngms=15.0) == [2, 1] * 5 and asked_by(ngms=15.0, ngms_all=True) == [1] * 10
    assert asked_by(prompt="a AND b :0.5 AND c :0") == [3] * 10
    assert asked_by(sampler="Heun", guidance_end=0.5) == [2] * 10 + [1] * 9
    assert asked_by(sampler="Heun", ngms=15.0) == [2, 1] * 9 + [2]
    assert asked_by(scale=1.0) == [1] * 10 and asked_by(rescale=0.7) == [2] * 10


def test_the_noise_level_below_which_is_that_of_the_call() -> None:
    sigmas = [at.sigma for at, _ in moments(Registry().schedules["Uniform"](10, NoiseTable.from_spec(MODEL.spec)))]
    level = sigmas[6] + 1e-6
    assert asked_by(ngms=level) == [2] * 6 + [2, 1, 2, 1] and asked_by(ngms=level, ngms_all=True) == [2] * 6 + [1] * 4


OPTIONS: Sequence[dict[str, Any]] = (
    {"guidance_start": 0.3}, {"guidance_end": 0.6}, {"ngms": 1.0}, {"ngms": 1.0, "ngms_all": True}, {"rescale": 0.7},
)  # fmt: skip


def differing(row: Row) -> Tensor:
    """A clean latent that depends on the state and the text."""
    return row.x / (1 + row.at.sigma) + torch.sin(row.x * 3) * (0.3 if row.role == "cond" else 0.1)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "Heun", "DPM++ SDE"])
def test_an_option_changes_the_picture_and_leaving_it_out_does_not(option: dict[str, Any], sampler: str) -> None:
    wanted = replace(REQUEST, sampler=sampler, steps=6, scale=6.0)
    left_out = replace(wanted, guidance_start=0.0, guidance_end=1.0, ngms=0.0, rescale=0.0)
    all_three = (wanted, replace(wanted, **option), left_out)
    plain, changed, off = (made(each, engine=Engine(predict=differing)).latent for each in all_three)
    assert plain is not None and changed is not None and off is not None
    assert torch.equal(plain, off) and not torch.equal(plain, changed)


def test_a_sampler_of_pairs_gets_them_through_the_whole_line() -> None:
    pairs = []

    def paired(denoise: Any, x: Tensor, sigmas: Any, _noise: Any) -> Any:
        for at, sigma_next in moments(sigmas):
            denoised, unconditional = yield from denoise(x, at)
            pairs.append((denoised, unconditional))
            x = denoised + (x - unconditional) * (sigma_next / at.sigma)
            yield Step(at, x, denoised)
        return x

    registry = Registry(samplers={**SAMPLERS, "Pairs": SamplerInfo(name="Pairs", function=paired, cfg_pp=True)})
    result = made(replace(REQUEST, sampler="Pairs", scale=PAIRED_PART / 2), engine=Engine(predict=differing), registry=registry)
    assert result.latent is not None and bool(result.latent.isfinite().all()) and len(pairs) == 4


def test_the_options_are_those_of_the_request_and_its_sampler() -> None:
    table = NoiseTable.from_spec(MODEL.spec)
    wanted = replace(REQUEST, guidance_start=0.1, guidance_end=0.9, ngms=2.0, ngms_all=True, rescale=0.4)
    found = guidance_of(wanted, SAMPLERS["Heun"], table)
    assert (found.start, found.end, found.sparse_below, found.never_below, found.rescale) == (0.1, 0.9, 2.0, True, 0.4)
    assert (found.evaluations, found.paired) == (2, False)
    assert found.place(table.sigma_max) == 0 and found.place(table.sigma_min) == 1
