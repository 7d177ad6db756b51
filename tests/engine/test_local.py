"""Networks of this process: rows, texts and pictures equal direct calls of the modules; patches leave no trace."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.engine.making import TINY, TOKENIZER, local, tiny_model
from tests.in_memory import InMemory
from webui.engine.batching import call_of
from webui.engine.contents import MOST, Contents
from webui.engine.device import CPU_FLOAT32, Choice
from webui.engine.local import LocalNetworks, Room
from webui.engine.placing import size_of
from webui.errors import JobError, UserError
from webui.nets.spec import ModelSpec, TextSpec
from webui.nets.unet import UNetModel
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES, Patches, WeightPatch
from webui.pipeline.protocol import Conditioning, Decode, Encode, EncodePicture, Moment, Row, TokenChunk

WIDE = replace(
    TINY,
    family="wide",
    prediction="eps",
    unet=replace(TINY.unet, in_channels=9, label_width=6, context_width=40),
    text=(
        TINY.text[0],
        TextSpec(
            kind="open_clip", width=24, layers=2, heads=2, hidden=32, vocabulary=TOKENIZER.size, positions=12, padding=0,
            projection=6, skip=2, final_norm=False,
        ),
    ),
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def row(seed: int = 0, *, length: int = 12, spec: ModelSpec = TINY, sigma: float = 2.0, **changes) -> Row:
    extra = spec.unet.in_channels - 4
    text = Conditioning(
        noise(length, spec.unet.context_width, seed=seed),
        noise(spec.unet.label_width, seed=seed) if spec.unet.label_width else None,
        key=f"{seed} {length}",
    )
    plain = Row(
        noise(4, 8, 8, seed=seed) * sigma, Moment(sigma, 0, 1), text, network="tiny",
        channels=noise(extra, 8, 8, seed=seed) if extra else None,
    )
    return replace(plain, **changes)


def expected(each: Row, spec: ModelSpec = TINY) -> Tensor:
    """The clean latent by one direct call, straight from the definition of eps and v."""
    sigma = torch.tensor(each.at.sigma)
    t = NoiseTable.from_betas(*spec.betas, spec.train_steps).t_of(each.at.sigma)
    scaled = each.x / (1 + sigma**2).sqrt()
    x = scaled if each.channels is None else torch.cat([scaled, each.channels])
    vector = None if each.conditioning.vector is None else each.conditioning.vector[None]
    out = tiny_model(spec).unet(x[None], torch.tensor([t]), each.conditioning.tokens[None], vector)[0]
    if spec.prediction == "eps":
        return each.x - sigma * out
    alpha, noise_part = 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()
    return alpha * scaled - noise_part * out


def close(actual: Tensor, wanted: Tensor, bound: float = 1e-5) -> bool:
    return bool((actual - wanted).abs().max() <= bound * wanted.abs().max())


@pytest.mark.parametrize("spec", [TINY, WIDE])
@pytest.mark.parametrize("channels_last", [False, True])
def test_rows_of_different_levels_and_texts_equal_direct_calls(spec: ModelSpec, channels_last: bool) -> None:
    networks = LocalNetworks(lambda name: InMemory(tiny_model(spec)), Choice(channels_last=channels_last))
    short, middle, long = (
        row(seed, spec=spec, length=length, sigma=sigma)
        for seed, (length, sigma) in enumerate(((12, 10.0), (24, 2.0), (36, 0.1)))
    )
    for rows in ((short, middle), (middle, long), (short,)):
        call = call_of(rows)
        for _ in range(2):  # the second time keys and values are those kept
            predicted = networks.predict(call)
            assert predicted.finite() == (True,) * len(rows)
            assert all(close(actual, expected(each, spec)) for actual, each in zip(predicted.rows, rows, strict=True))


def test_three_rows_are_padded_to_four_and_answered_as_three() -> None:
    seen = []

    class Watch:
        def before(self, call, h):
            seen.append((call.rows, tuple(at.sigma for at in call.at)))
            return h

    hook = Patches(blocks=(Watch(),))
    rows = [row(seed, sigma=seed + 1.0, patches=hook) for seed in range(3)]
    predicted = local().predict(call_of(rows))
    assert seen[0] == (4, (1.0, 2.0, 3.0, 3.0))
    assert len(predicted.rows) == 3
    assert all(close(actual, expected(each)) for actual, each in zip(predicted.rows, rows, strict=True))


def test_bfloat16_stays_close_and_answers_in_float32() -> None:
    networks = LocalNetworks(lambda name: InMemory(tiny_model()), Choice(dtype="bfloat16", channels_last=True))
    (actual,) = networks.predict(call_of([row()])).rows
    assert actual.dtype == torch.float32
    difference = (actual - expected(row())).norm() / expected(row()).norm()
    assert 1e-5 < difference < 0.06
    assert next(tiny_model().unet.parameters()).dtype == torch.float32


def test_a_row_without_a_name_for_its_text_is_answered_too() -> None:
    nameless = replace(row(), conditioning=replace(row().conditioning, key=""))
    networks = local()
    assert close(networks.predict(call_of([nameless])).rows[0], expected(row()))
    other = replace(row(1), conditioning=replace(row(1).conditioning, key=""))
    assert close(networks.predict(call_of([other])).rows[0], expected(row(1)))


def test_a_key_that_lies_about_its_text_spoils_no_other_call() -> None:
    networks = local()
    honest = row()
    text = honest.conditioning
    lying = replace(honest, conditioning=replace(text, tokens=text.tokens * 2))  # what a careless extension does
    doubled = networks.predict(call_of([lying])).rows[0]
    assert close(networks.predict(call_of([honest])).rows[0], expected(honest))
    assert close(doubled, expected(lying))
    assert not close(doubled, expected(honest))
    text.tokens.mul_(2)  # and what another one does
    assert close(networks.predict(call_of([honest])).rows[0], doubled)


def test_keys_and_values_are_computed_once_for_a_text_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = local()
    ask = Encode(((chunk("red"),),), network="tiny")
    computed = []
    made = UNetModel.cross_keys_values
    monkeypatch.setattr(UNetModel, "cross_keys_values", lambda *given: computed.append(1) or made(*given))
    for seed in range(3):
        text = networks.encode(ask)
        for sigma in (5.0, 1.0):
            networks.predict(call_of([row(seed, sigma=sigma, conditioning=text)]))
    assert len(computed) == 1


def test_a_step_goes_through_no_list_of_all_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, listed = local(), []
    networks.predict(call_of([row(sigma=2.0)]))
    made = UNetModel.modules
    monkeypatch.setattr(UNetModel, "modules", lambda *given: listed.append(1) or made(*given))
    networks.predict(call_of([row(sigma=1.0)]))
    assert not listed


def test_a_text_made_in_inference_mode_is_taken_but_not_kept() -> None:
    networks = local()
    with torch.inference_mode():
        made = row(conditioning=Conditioning(row().conditioning.tokens.clone()))
    assert close(networks.predict(call_of([made])).rows[0], expected(row()))
    assert networks._contexts.size == 0


def test_few_names_are_remembered() -> None:
    contents = Contents()
    texts = [Conditioning(torch.full((1, 2), float(number)), torch.ones(3)) for number in range(MOST)]
    names = [contents.name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert [contents.name(text) for text in texts] == names
    assert len(contents._known) <= MOST
    assert contents.name(replace(texts[0], vector=None)) != names[0]
    assert contents.name(replace(texts[0], key="other")) == names[0]


def test_nan_rows_are_named_and_spare_the_others() -> None:
    rows = [row(), replace(row(1), x=torch.full((4, 8, 8), float("nan")))]
    predicted = local().predict(call_of(rows))
    assert predicted.finite() == (True, False)
    assert close(predicted.rows[0], expected(rows[0]))


def test_residuals_of_rows_and_patches_are_added_and_circular_padding_has_an_effect() -> None:
    networks = local()
    plain = networks.predict(call_of([row()])).rows[0]
    unet = tiny_model().unet
    shapes = []

    class Watch:
        def after(self, call, h):
            shapes.append(h.shape[1:])
            return h

    networks.predict(call_of([row(patches=Patches(blocks=(Watch(),)))]))
    inputs = len(unet.input_blocks)
    sites = tuple(noise(*shape, seed=index) for index, shape in enumerate(shapes[: inputs + 1]))
    halves = tuple(site / 2 for site in sites)
    whole = networks.predict(call_of([row(residuals=sites)])).rows[0]
    split = networks.predict(call_of([row(residuals=halves, patches=Patches(residuals=halves))])).rows[0]
    assert not close(whole, plain)
    assert close(split, whole)
    assert not close(networks.predict(call_of([row(patches=Patches(padding="circular"))])).rows[0], plain)


@pytest.mark.parametrize("named", [True, False])
def test_a_hook_that_writes_to_what_it_is_given_changes_no_other_call(named: bool) -> None:
    class Vandal:
        def context(self, call, ctx):
            if call.site.endswith("attn2"):
                ctx.zero_()
            return ctx, ctx

    class Thief:
        def attend(self, call, q, k, v):
            if call.site.endswith("attn2"):
                k.zero_()
                v.zero_()

    given = row() if named else replace(row(), conditioning=replace(row().conditioning, key=""))
    networks = local()
    plain = networks.predict(call_of([given])).rows[0]
    text = given.conditioning.tokens.clone()
    for hook in (Vandal(), Thief()):
        hooked = replace(given, patches=Patches(attention=(hook,)))
        changed = networks.predict(call_of([hooked])).rows[0]
        assert not close(changed, plain)
        assert torch.equal(networks.predict(call_of([hooked])).rows[0], changed)
        assert torch.equal(networks.predict(call_of([given])).rows[0], plain)
    assert torch.equal(given.conditioning.tokens, text)


KEY = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"


def lora(key: str, scale: float, content: str) -> WeightPatch:
    return WeightPatch(key, lambda weight: scale * torch.ones_like(weight) * weight.abs().mean(), content)


def test_weight_patches_have_an_effect_leave_no_trace_and_do_not_depend_on_their_order() -> None:
    networks = local()
    before = {name: weight.clone() for name, weight in tiny_model().unet.state_dict().items()}
    plain = networks.predict(call_of([row()])).rows[0]
    a, b, c = (
        WeightPatch(KEY, lambda weight, seed=seed: noise(*weight.shape, seed=seed) / 3, content)
        for seed, content in enumerate("abc")
    )
    assert networks.ready(row())
    patched = row(patches=Patches(weights=(a, b, c)))
    assert not networks.ready(patched)
    one = networks.predict(call_of([patched])).rows[0]
    assert networks.ready(patched)
    other = local().predict(call_of([row(patches=Patches(weights=(c, b, a)))])).rows[0]
    assert torch.equal(one, other)
    assert not close(one, plain)
    assert torch.equal(networks.predict(call_of([row()])).rows[0], plain)
    assert all(torch.equal(weight, before[name]) for name, weight in tiny_model().unet.state_dict().items())
    networks.free()
    assert not networks.ready(patched)
    assert torch.equal(networks.predict(call_of([patched])).rows[0], one)


def test_patches_are_told_the_original_and_bad_ones_get_a_sentence() -> None:
    seen = []
    patch = WeightPatch(KEY, lambda weight: seen.append(weight.clone()) or weight.zero_(), "zero")  # even one that writes to it
    networks = local()
    plain = networks.predict(call_of([row()])).rows[0]
    assert torch.equal(networks.predict(call_of([row(patches=Patches(weights=(patch, patch)))])).rows[0], plain)
    original = tiny_model().unet.get_parameter(KEY.removeprefix("model.diffusion_model."))
    assert all(torch.equal(each, original) for each in seen)
    for key, text in ((KEY + "s", "does not have"), ("elsewhere.weight", "in no network")):
        with pytest.raises(UserError, match=text):
            networks.predict(call_of([row(patches=Patches(weights=(lora(key, 1, key),)))]))
    wrong = WeightPatch(KEY, lambda weight: weight[:1], "wrong")
    with pytest.raises(UserError, match="has the shape"):
        networks.predict(call_of([row(patches=Patches(weights=(wrong,)))]))


def test_rows_that_do_not_fit_their_model_get_a_sentence() -> None:
    with pytest.raises(JobError, match="takes 4 channels, but the job gives it 6"):
        local().predict(call_of([row(channels=torch.zeros(2, 8, 8))]))
    with pytest.raises(JobError, match="texts of width 16, but the job gives it 5"):
        local().predict(call_of([row(conditioning=Conditioning(torch.zeros(12, 5)))]))


def chunk(text: str, weight: float = 1.0) -> TokenChunk:
    ids = [TOKENIZER.start, *TOKENIZER.encode(text)][:11]
    ids += [TOKENIZER.end] * (12 - len(ids))
    return TokenChunk(tuple(ids), (1.0, weight, *[1.0] * 10))


def test_texts_are_encoded_window_by_window_kept_and_weighted(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = local()
    ask = Encode(((chunk("red"), chunk("cube")),), network="tiny")
    found = networks.encode(ask)
    tower = tiny_model().text[0]
    direct = [tower(torch.tensor([window.ids])).tokens[0] for window in ask.chunks[0]]
    assert found.tokens.shape == (24, 16)
    assert close(found.tokens, torch.cat(direct))
    assert found.vector is None
    again = networks.encode(Encode(((chunk("red"), chunk("cube")),), network="tiny"))
    assert again.key == found.key
    assert torch.equal(again.tokens, found.tokens)
    with monkeypatch.context() as patch:
        patch.setattr(networks.holding, "residency", None)  # neither a tower nor a decoder is needed for what is kept
        again.tokens.zero_()
        assert torch.equal(networks.encode(ask).tokens, found.tokens)
    other = networks.encode(replace(ask, clip_skip=2))
    assert other.key != found.key
    assert not close(other.tokens, found.tokens)
    heavy = networks.encode(replace(ask, chunks=((chunk("red", 1.5), chunk("cube")),)))
    assert close(heavy.tokens[12:], found.tokens[12:])
    assert heavy.tokens[:12].mean() == pytest.approx(float(found.tokens[:12].mean()), rel=1e-3, abs=1e-6)
    ratio = heavy.tokens[1] / found.tokens[1] / (heavy.tokens[2] / found.tokens[2])
    assert torch.allclose(ratio, torch.full((16,), 1.5), rtol=1e-3)


def test_two_towers_stand_side_by_side_and_the_last_gives_the_vector() -> None:
    networks = LocalNetworks(lambda name: InMemory(tiny_model(WIDE)))
    found = networks.encode(Encode(((chunk("red"),), (chunk("red"),)), network="tiny"))
    towers = tiny_model(WIDE).text
    ids = torch.tensor([chunk("red").ids])
    assert close(found.tokens, torch.cat([tower(ids).tokens[0] for tower in towers], dim=-1))
    assert found.vector is not None
    assert close(found.vector, towers[1](ids).pooled[0])
    with pytest.raises(JobError, match="2"):
        networks.encode(Encode(((chunk("red"),),), network="tiny"))


@pytest.mark.parametrize(("index", "key"), [
    (0, "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight"),
    (1, "conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_weight"),
    (1, "conditioner.embedders.1.model.text_projection"),
])
def test_text_towers_are_patched_under_the_published_names(index: int, key: str) -> None:
    networks = LocalNetworks(lambda name: InMemory(tiny_model(WIDE)))
    ask = Encode(((chunk("red"),), (chunk("red"),)), network="tiny")
    plain = networks.encode(ask)
    patched = networks.encode(replace(ask, patches=Patches(weights=(lora(key, 2.0, "a"),))))
    assert patched.key != plain.key
    assert close(patched.tokens[:, :16], plain.tokens[:, :16]) == (index == 1)
    assert close(patched.vector, plain.vector) == (index == 0)
    assert torch.equal(networks.encode(ask).tokens, plain.tokens)


def test_pictures_are_decoded_and_encoded_at_the_models_scale_and_kept() -> None:
    networks = local()
    latent = noise(4, 8, 8)
    picture = networks.decode(Decode(latent, network="tiny"))
    vae = tiny_model().vae
    assert close(picture, (vae.decode(latent[None] / 0.5 + 0.1)[0] / 2 + 0.5).clamp(0, 1))
    expected_picture = picture.clone()
    picture.zero_()  # the answer is its holder's
    picture = networks.decode(Decode(latent.clone(), network="tiny"))
    assert torch.equal(picture, expected_picture)
    back = networks.encode_picture(EncodePicture(picture, network="tiny"))
    assert close(back, (vae.encode(picture[None] * 2 - 1).mean[0] - 0.1) * 0.5)
    with pytest.raises(JobError, match="multiples of 2"):
        networks.encode_picture(EncodePicture(torch.zeros(3, 7, 8), network="tiny"))


def test_other_networks_and_models_that_come_and_go() -> None:
    read = []

    class Watched(InMemory):
        def __init__(self, name: str) -> None:
            super().__init__(tiny_model())
            self.name = name

        def read(self, part, *wanted):
            read.append(self.name)
            return super().read(part, *wanted)

    room = Room(weights=size_of(InMemory(tiny_model()).shapes("unet"), CPU_FLOAT32))
    sources = {name: Watched(name) for name in "ab"}
    networks = LocalNetworks(sources.__getitem__, room=room)
    first, second = row(network="a"), row(network="b")
    assert not networks.ready(first)
    for each in (first, first, second, first):
        networks.predict(call_of([each]))
        assert networks.ready(each)
    assert read == ["a", "b", "a"]
    sources["a"] = Watched("a")  # a file that was replaced
    networks.predict(call_of([first]))
    assert read == ["a", "b", "a", "a"]
    assert row().patches is NO_PATCHES
