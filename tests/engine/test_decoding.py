"""Autoencoders that overflow, others in place of a model's own, and little memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.making import SIZE, TINY, last, pictures_of, request, run, stepped, tiny_model, told
from tests.in_memory import InMemory
from webui.engine import decoding, events
from webui.engine.decoding import decoded_somehow
from webui.engine.device import Choice
from webui.engine.local import LocalNetworks
from webui.errors import JobError
from webui.pipeline.protocol import Decode, EncodePicture
from webui.weights.model import LoadedModel


def overflowing(by: float = 1e6) -> LoadedModel:
    """The tiny model with an autoencoder whose numbers pass float16's largest on their way, and come back."""
    model = tiny_model()
    vae = InMemory(model).build("vae")
    weights = dict(InMemory(model).read("vae"))
    weights["post_quant_conv.weight"] = weights["post_quant_conv.weight"] * by
    weights["decoder.conv_in.weight"] = weights["decoder.conv_in.weight"] / by
    vae.load_state_dict(weights, assign=True)
    return dataclasses.replace(model, vae=vae.eval().requires_grad_(False))


class InHalf(Choice):
    """A device that decodes in half precision first, as GPUs do."""

    def for_decoding(self) -> tuple[Choice, ...]:
        return tuple(dataclasses.replace(Choice(), dtype=dtype) for dtype in ("float16", "bfloat16", "float32"))


class InBfloat16(Choice):
    """A device that decodes in bfloat16."""

    def for_decoding(self) -> tuple[Choice, ...]:
        return (dataclasses.replace(Choice(), dtype="bfloat16"),)


def latent(seed: int = 0) -> Tensor:
    return torch.randn(4, SIZE // 2, SIZE // 2, generator=torch.Generator().manual_seed(seed))


def test_an_autoencoder_that_overflows_decodes_wider_and_that_is_said_once() -> None:
    model = overflowing()
    networks = LocalNetworks(lambda _: InMemory(model), InHalf())
    expected = LocalNetworks(lambda _: InMemory(model)).decode(Decode(latent(), network="tiny"))
    engine = stepped(pictures_of, networks)
    first, second = engine.submit(request()), engine.submit(request(seed=9))
    run(engine)
    assert isinstance(last(engine, first), events.Finished) and isinstance(last(engine, second), events.Finished)
    notices = [event for job in (first, second) for event in told(engine, job) if isinstance(event, events.Notice)]
    (notice,) = notices
    assert "half precision" in notice.sentence and "bfloat16" in notice.sentence
    made = networks.decode(Decode(latent(), network="tiny"))
    assert torch.isfinite(made).all() and float((made - expected).abs().mean()) < 0.02
    held = {key.variant for key in networks.holding.residency._held if key.part == "vae"}
    assert "bfloat16" in held


def test_a_picture_is_decoded_as_if_no_other_had_overflowed_before() -> None:
    def networks(choice: Choice) -> LocalNetworks:
        return LocalNetworks(lambda _: InMemory(overflowing(1e3)), choice)

    small, large = (Decode(latent() * size, network="tiny") for size in (1, 1000))  # the first overflows nowhere

    expected = networks(InHalf()).decode(small)
    later = networks(InHalf())
    later.decode(large)
    assert len(later.notices()) == 1
    assert torch.equal(later.decode(small), expected)
    later.decode(Decode(large.latent + 1, network="tiny"))
    assert later.notices() == ()
    assert not torch.equal(networks(InBfloat16()).decode(small), expected)


def test_a_good_autoencoder_stays_in_half_precision_and_a_latent_of_nan_changes_nothing() -> None:
    networks = LocalNetworks(lambda _: InMemory(tiny_model()), InHalf())
    networks.decode(Decode(latent(), network="tiny"))
    assert not torch.isfinite(networks.decode(Decode(latent() * float("nan"), network="tiny"))).all()
    assert {key.variant for key in networks.holding.residency._held} == {"float16"} and networks.notices() == ()


def test_pictures_are_read_in_float32_whatever_decodes() -> None:
    networks = LocalNetworks(lambda _: InMemory(tiny_model()), InHalf())
    picture = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    exact = LocalNetworks(lambda _: InMemory(tiny_model()))
    ask = EncodePicture(picture, network="tiny")
    assert torch.equal(networks.encode_picture(ask), exact.encode_picture(ask))


def test_another_autoencoder_decodes_with_the_models_scale() -> None:
    other, asked = tiny_model(dataclasses.replace(TINY, title="other")), []
    other = dataclasses.replace(other, vae=overflowing().vae)

    def open_vae(name: str, like: Any) -> InMemory:
        asked.append((name, like))
        return InMemory(other)

    networks = LocalNetworks(lambda _: InMemory(tiny_model()), open_vae=open_vae)
    own = networks.decode(Decode(latent(), network="tiny"))
    made = networks.decode(Decode(latent(), network="tiny", vae="v"))
    z = latent()[None] / TINY.vae.scale + TINY.vae.shift
    assert torch.allclose(made, (other.vae.decode(z)[0] / 2 + 0.5).clamp(0, 1), atol=1e-5)
    assert (made - own).abs().max() > 1e-3 and asked == [("v", TINY.vae)]
    with pytest.raises(JobError, match="'v'"):
        LocalNetworks(lambda _: InMemory(tiny_model())).decode(Decode(latent(), network="tiny", vae="v"))


def test_a_decode_without_memory_is_made_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, bands = tiny_model().vae, []
    real = decoding.decode_in_bands

    class Small:
        spec = vae.spec

        def decode(self, z: Tensor, padding: str = "zeros") -> Tensor:
            raise RuntimeError("CUDA out of memory.")

    def counted(_: Any, z: Tensor, count: int, padding: Any) -> Tensor:
        bands.append(count)
        if count < 8:
            raise torch.cuda.OutOfMemoryError("not even that")
        return real(vae, z, count, padding)

    monkeypatch.setattr(decoding, "decode_in_bands", counted)
    z = latent()[None]
    with torch.no_grad():
        assert torch.allclose(decoded_somehow(Small(), z), vae.decode(z), atol=1e-5)
        assert bands == [4, 8]
        assert torch.allclose(decoded_somehow(Small(), z, "circular"), vae.decode(z, "circular"), atol=1e-5)
        monkeypatch.setattr(decoding, "decode_in_bands", lambda *_: Small().decode(z))
        with pytest.raises(RuntimeError, match="out of memory"):
            decoded_somehow(Small(), z)

    class Wrong:
        spec = vae.spec

        def decode(self, z: Tensor, padding: str = "zeros") -> Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        decoded_somehow(Wrong(), z)


def test_a_large_picture_is_made_in_bands_on_a_cpu_before_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, z = tiny_model().vae, latent()[None]
    with torch.no_grad():
        whole = vae.decode(z)
        picture = whole.clamp(-1, 1)
        mean = vae.encode(picture).mean
        size = decoding.largest_map(vae, *picture.shape[-2:]) * 4
        assert size == picture[0, 0].numel() * 16 * 4, "the channels of the resolution below, and four bytes each"
        counts: list[int] = []
        for name in ("decode_in_bands", "encode_in_bands"):
            real = getattr(decoding, name)
            monkeypatch.setattr(decoding, name, lambda *given, real=real: (counts.append(given[2]), real(*given))[1])
        monkeypatch.setattr(decoding, "AT_ONCE_ON_A_CPU", size)
        assert torch.equal(decoded_somehow(vae, z), whole) and counts == []
        monkeypatch.setattr(decoding, "AT_ONCE_ON_A_CPU", size - 1)
        monkeypatch.setattr(decoding, "BAND_ON_A_CPU", size // 3)
        assert torch.allclose(decoded_somehow(vae, z), whole, atol=1e-5)
        assert torch.allclose(decoding.encoded_somehow(vae, picture), mean, atol=1e-5) and counts in ([3, 3], [4, 4])
