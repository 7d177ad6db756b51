"""What a module of a LoRA file does to a weight: one function for each kind, from its tensors to the difference it makes.

W is the weight [out, in, ...] in float32, s the file's own scale (alpha / rank), m the strength. Sources: LoRA (Hu et al. 2021,
arXiv:2106.09685), LyCORIS (Yeh et al. 2023, arXiv:2309.14859: LoHa, LoKr, IA3, and CP decomposition for convolutions), DoRA (Liu
et al. 2024, arXiv:2402.09353), GLoRA (Chavan et al. 2023, arXiv:2306.07967), OFT (Qiu et al. 2023, arXiv:2306.07280), BOFT (Liu
et al. 2023, arXiv:2311.06243).

Where programs disagree: a missing alpha is the rank (s = 1). LoKr of two whole factors has s = 1 whatever its alpha. DoRA at
strengths other than 1 is LyCORIS' own, (W + D) * (1 + m * (scale / norm - 1)); its norm is over the axes that the shape of the
file's scale leaves over, and PEFT's magnitude is always one for each output. Rescaled OFT and BOFT agree at strength 1 alone:
here m brings the rescaling in as well, so that strength 0 is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Parts = Mapping[str, Tensor]
Delta = Callable[[Parts, Tensor, float, float], Tensor]  # parts, W, s and m to the difference


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of change: the parts it needs, others it may have, and which function it is.

    `rank_of` is the part whose first axis is the rank.
    """

    name: str
    needs: frozenset[str]
    may: frozenset[str] = frozenset()
    delta: Delta
    rank_of: tuple[str, ...] = ()


def lora(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """s * up @ down; with a middle, a convolution in three steps (CP)."""
    up, down, mid = parts["up"].flatten(1), parts["down"].flatten(1), parts.get("mid")
    if mid is not None:
        return scale * strength * torch.einsum("o r, r q ..., q i -> o i ...", up, mid, down)
    return (scale * strength * (up @ down)).reshape(weight.shape)


def loha(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """The element-wise product of two low-rank matrices."""
    halves = []
    for half in ("1", "2"):
        first, second, core = parts[f"hada_w{half}_a"], parts[f"hada_w{half}_b"], parts.get(f"hada_t{half}")
        halves.append(first @ second if core is None else cores(core, first, second))
    return (scale * strength * halves[0] * halves[1]).reshape(weight.shape)


def lokr(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """The Kronecker product of two matrices, each whole or of low rank."""
    first = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    if "lokr_w2" in parts:
        second = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        second = cores(parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"])
    else:
        second = parts["lokr_w2_a"] @ parts["lokr_w2_b"].flatten(1)
        inputs = weight.shape[1] // first.shape[1]
        second = second.reshape(second.shape[0], inputs, *weight.shape[2:])
    first = first.reshape(*first.shape[:2], *(1,) * (second.dim() - 2))
    return (scale * strength * torch.kron(first.contiguous(), second.contiguous())).reshape(weight.shape)


def cores(core: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """A tensor [out, in, ...] out of a core [r, r, ...] and its factors [r, out] and [r, in]."""
    return torch.einsum("a b ..., a o, b i -> o i ...", core, first, second)


def glora(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """s * (W @ A + B), A and B of low rank; older files have the factors of each the other way round."""
    a1, a2, b1, b2 = (parts[name].flatten(1) for name in ("a1", "a2", "b1", "b2"))
    rows, columns = weight.shape[0], weight.shape[1]
    if not (b1.shape[0] == rows and b2.shape[0] == b1.shape[1] and a1.shape[0] == columns):
        a1, a2, b1, b2 = a2, a1, b2, b1
    through = torch.einsum("o i ..., i r, r j -> o j ...", weight, a1, a2)
    if "bm" in parts:
        return scale * strength * (through + torch.einsum("o r, r q ..., q i -> o i ...", b1, parts["bm"], b2))
    return scale * strength * (through + (b1 @ b2).reshape(weight.shape))


def ia3(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """W * w, by column where it acts on the input, else by row (LyCORIS, where w = 0 is no change)."""
    del scale
    by_column = bool(parts["on_input"].flatten()[0] > 0) if parts["on_input"].device.type != "meta" else False
    factors = parts["weight"].flatten()
    return strength * weight * along(factors, weight, 1 if by_column else 0)


def ia3_peft(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """W * (l - 1), by column where l is for the inputs, else by row (PEFT, where l = 1 is no change)."""
    del scale
    factors = parts["ia3_l"]
    return strength * weight * along(factors.flatten() - 1, weight, 1 if for_inputs(factors, weight.shape[0]) else 0)


def for_inputs(factors: Tensor, rows: int) -> bool:
    """Whether factors of PEFT's are for inputs: those of matrices are a row then; those of convolutions always look like one."""
    return factors.dim() > 1 and factors.shape[0] == 1 and (factors.dim() == 2 or factors.shape[1] != rows)


def difference(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """The whole difference, as it is."""
    del scale
    return strength * parts["diff"].reshape(weight.shape)


def norm(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """The difference of a normalisation's weight."""
    del scale
    return strength * parts["w_norm"].reshape(weight.shape)


def replaced(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """The weight itself, in place of the model's."""
    del scale
    return strength * (parts["set_weight"].reshape(weight.shape) - weight)


def oft(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """Rotations of blocks of outputs, R = (1 + Q) (1 - Q)^-1; `alpha` limits the size of Q (kohya, LyCORIS). 4 axes: BOFT."""
    del scale
    skew = parts["oft_blocks"] - parts["oft_blocks"].transpose(-1, -2)
    if "alpha" in parts and skew.device.type != "meta":
        most = float(parts["alpha"].flatten()[0]) * weight.shape[0]
        size = torch.linalg.vector_norm(skew) + 1e-8
        skew = torch.where(size > most, skew * most / size, skew) if most > 0 else skew
    one = torch.eye(skew.shape[-1], device=skew.device)
    turned = torch.linalg.solve(one - skew, one + skew, left=False) - one
    rotated = butterfly(turned, weight, strength) if turned.dim() == 4 else rotations(turned, weight, strength)
    return rescaled(parts, weight, rotated, strength)


def oft_diag(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """Rotations as they are: early LyCORIS kept R itself, and before that R - 1; R has most of its size on the diagonal."""
    del scale
    blocks = parts["oft_diag"]
    one = torch.eye(blocks.shape[-1], device=blocks.device)
    whole = blocks.device.type != "meta" and float(blocks.diagonal(dim1=-2, dim2=-1).mean()) > 0.5
    return rescaled(parts, weight, rotations(blocks - one if whole else blocks, weight, strength), strength)


def rotations(turned: Tensor, weight: Tensor, strength: float) -> Tensor:
    """The difference that R - 1 [blocks, n, n] makes to W, whose outputs are the blocks one after the other."""
    own = weight.reshape(turned.shape[0], turned.shape[1], -1)
    return strength * torch.einsum("k n m, k n x -> k m x", turned, own).reshape(weight.shape)


def butterfly(turned: Tensor, weight: Tensor, strength: float) -> Tensor:
    """The difference that stages of R - 1 [stages, blocks, n, n] make to W, each of which mixes outputs further apart."""
    rows, half = weight.reshape(weight.shape[0], -1), turned.shape[-1] // 2
    for stage, blocks in enumerate(turned):
        reach = 2**stage * half
        mixed = rows.reshape(-1, 2, reach, rows.shape[1]).transpose(1, 2).reshape(-1, blocks.shape[-1], rows.shape[1])
        mixed = mixed + strength * blocks @ mixed
        rows = mixed.reshape(-1, reach, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)
    return rows.reshape(weight.shape) - weight


def rescaled(parts: Parts, weight: Tensor, change: Tensor, strength: float) -> Tensor:
    """A difference, and then a factor for each output."""
    if "rescale" not in parts:
        return change
    factors = along(1 + strength * (parts["rescale"].flatten() - 1), weight, 0)
    return factors * (weight + change) - weight


def oft_peft(parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """PEFT's OFT: rotations of blocks of inputs; R is 1 + 2Q + 2Q^2 + 2Q^3 + Q^4, as PEFT has it."""
    del scale
    upper = parts["oft_R"]
    size = round((1 + (1 + 8 * upper.shape[1]) ** 0.5) / 2)
    rows, columns = torch.triu_indices(size, size, 1, device=upper.device)
    skew = torch.zeros(len(upper), size, size, device=upper.device)
    skew[:, rows, columns] = upper
    skew = skew - skew.transpose(1, 2)
    power, turned = skew, 2 * skew
    for _ in range(2):
        power = power @ skew
        turned = turned + 2 * power
    turned = turned + power @ skew
    own = weight.flatten(1)
    blocks = own.shape[1] // size
    turned = turned.expand(blocks, size, size) if len(turned) == 1 else turned  # one rotation for all blocks
    change = torch.einsum("k m n, o k n -> o k m", turned, own.reshape(len(own), blocks, size))
    return strength * change.reshape(weight.shape)


def decomposed(plain: Delta, parts: Parts, weight: Tensor, scale: float, strength: float) -> Tensor:
    """DoRA around another kind: its result keeps its direction, and its size, over rows or columns, is the file's."""
    whole = weight + plain(parts, weight, scale, 1.0)
    size = parts["magnitude"] if "magnitude" in parts else parts["dora_scale"]
    by_column = "magnitude" not in parts and size.dim() > 1 and size.shape[0] == 1 and size.shape[1] == weight.shape[1]
    axis = 1 if by_column else 0
    norms = whole.transpose(0, axis).flatten(1).norm(dim=1) + torch.finfo(torch.float32).eps
    factors = 1 + strength * (size.flatten() / norms - 1)
    return whole * along(factors, weight, axis) - weight


def along(factors: Tensor, weight: Tensor, axis: int) -> Tensor:
    """Factors in the shape in which they multiply a weight's rows (axis 0) or columns (1)."""
    return factors.reshape([-1 if place == axis else 1 for place in range(weight.dim())])


DORA = frozenset({"dora_scale", "magnitude"})
KINDS = (
    Kind(name="LoRA", needs=frozenset({"up", "down"}), may=DORA | {"mid", "alpha", "scalar"}, delta=lora, rank_of=("down",)),
    Kind(
        name="LoHa", needs=frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}), delta=loha, rank_of=("hada_w1_b",),
        may=DORA | {"hada_t1", "hada_t2", "alpha", "scalar"},
    ),
    *(
        Kind(
            name="LoKr", needs=frozenset(first + second), may=DORA | {"lokr_t2", "alpha", "scalar"}, delta=lokr,
            rank_of=tuple(part for part in ("lokr_w2_b", "lokr_w1_b") if part in first + second),
        )
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b")) for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
    Kind(name="GLoRA", needs=frozenset({"a1", "a2", "b1", "b2"}), may=frozenset({"bm", "alpha", "scalar"}), delta=glora),
    Kind(name="IA3", needs=frozenset({"weight", "on_input"}), delta=ia3),
    Kind(name="IA3", needs=frozenset({"ia3_l"}), delta=ia3_peft),
    Kind(name="OFT", needs=frozenset({"oft_blocks"}), may=frozenset({"alpha", "rescale"}), delta=oft),
    Kind(name="OFT", needs=frozenset({"oft_diag"}), may=frozenset({"alpha", "rescale"}), delta=oft_diag),
    Kind(name="OFT", needs=frozenset({"oft_R"}), may=frozenset({"alpha"}), delta=oft_peft),
    Kind(name="full", needs=frozenset({"diff"}), may=frozenset({"alpha"}), delta=difference),
    Kind(name="norm", needs=frozenset({"w_norm"}), delta=norm),
    Kind(name="whole", needs=frozenset({"set_weight"}), delta=replaced),
)  # fmt: skip
BIASES = ("diff_b", "b_norm", "up_bias")  # differences of the module's bias, the last of which has the LoRA's scale


def kind_of(parts: Mapping[str, object]) -> Kind | None:
    """What the parts of a module make it; None where they make nothing, or only change its bias."""
    return next((kind for kind in KINDS if kind.needs <= parts.keys()), None)


def rank_of(kind: Kind, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """The rank of a module, by the shapes of its parts; None where it has none, so that alpha says nothing."""
    if kind.delta is glora:
        return min(shapes["b1"][:2])  # which of the two it is depends on how old the file is
    found = next((shapes[part] for part in kind.rank_of if part in shapes), None)
    return found[0] if found else None
