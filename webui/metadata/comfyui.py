"""What a ComfyUI graph says of the picture it made: the sampler that begins from nothing, and what leads to it.

A graph can do anything, so this is what can be made of it; the graph itself is kept as it is in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from webui.infotext import Infotext
from webui.metadata.names import sampler_and_schedule

Node = Mapping[str, Any]
Graph = Mapping[str, Any]
MOST_NODES = 5000  # that are looked at for one value
SAYS = {"steps", "seed", "noise_seed", "positive", "guider", "sigmas"}  # what a node that samples has at least one of
MOST_SAMPLERS = 20
TEXTS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "string", "value", "prompt", "positive", "wildcard_text")
SEEDS = ("seed", "noise_seed", "value")
FILES = ("ckpt_name", "unet_name", "model_name")
LATENTS = ("latent_image", "samples", "latent")
CONDITIONS = ("positive", "negative")


def is_graph(found: object) -> bool:
    """Whether it is a graph as ComfyUI runs it: nodes with a class and inputs by their numbers."""
    return isinstance(found, Mapping) and any(_is_node(node) for node in found.values())


def read(graph: Graph) -> Infotext | None:
    """The prompts and values of the picture; None where no sampler is found."""
    samplers = [node for node in graph.values() if _is_node(node) and "sampler" in node["class_type"].casefold()]
    samplers = [node for node in samplers if _inputs(node).keys() & SAYS]
    if not samplers:
        return None
    first = next((node for node in samplers[:MOST_SAMPLERS] if _empty_latent(graph, node) is not None), samplers[0])
    values = _settings(graph, first) | _size(graph, first) | _model(graph, first)
    if "Seed" in values:
        values["RNG"] = "CPU"  # where it draws its noise
    prompts = [_prompt(graph, first, name) for name in CONDITIONS]
    if not any(prompts):
        prompts[0] = _text(graph, _above(graph, first, ("guider", "conditioning")))
    return Infotext(prompt=prompts[0], negative=prompts[1], values=values)


def _settings(graph: Graph, sampler: Node) -> dict[str, str]:
    """Steps, method, scale and seed, of the sampler or of the nodes that it takes them from."""
    near = [_inputs(node) for node in _upstream(graph, sampler, but=("model", "positive", "negative", "latent_image"))]

    def first(*names: str) -> str:
        for name in names:
            for inputs in near:
                value = inputs.get(name)
                if isinstance(value, str | int | float) and not isinstance(value, bool):
                    return str(value)
        return ""

    steps, scale, seed, strength = first("steps"), first("cfg", "guidance"), first("seed", "noise_seed"), first("denoise")
    found = {"Steps": steps} | sampler_and_schedule(first("sampler_name"), first("scheduler"))
    found |= {"CFG scale": scale, "Seed": seed or _linked(graph, sampler, SEEDS)}
    found |= {"Denoising strength": strength if strength not in ("", "1", "1.0") else ""}
    return {key: value for key, value in found.items() if value}


def _linked(graph: Graph, node: Node, names: tuple[str, ...]) -> str:
    """A number that a node takes from another one."""
    for name in ("seed", "noise_seed", "noise"):
        above = _node(graph, _inputs(node).get(name))
        for each in names:
            value = _inputs(above).get(each) if above else None
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
    return ""


def _size(graph: Graph, sampler: Node) -> dict[str, str]:
    inputs = _inputs(_empty_latent(graph, sampler) or {})
    sides = [inputs.get(name) for name in ("width", "height")]
    return {"Size": f"{sides[0]}x{sides[1]}"} if all(type(side) is int for side in sides) else {}


def _model(graph: Graph, sampler: Node) -> dict[str, str]:
    """The checkpoint's name, and the networks laid over it."""
    found: dict[str, str] = {}
    networks = []
    for node in _upstream(graph, sampler, only=("model", "guider", "base_model", "lora_stack")):
        inputs = _inputs(node)
        name = next((inputs[each] for each in FILES if isinstance(inputs.get(each), str)), None)
        if name is not None:
            found.setdefault("Model", _stem(name))
        if isinstance(inputs.get("lora_name"), str):
            networks.append(f"{_stem(inputs['lora_name'])}: {inputs.get('strength_model', 1)}")
    vae = next((_inputs(node)["vae_name"] for node in graph.values() if _is_node(node) and _is_text(node, "vae_name")), None)
    found |= {"VAE": _stem(vae)} if vae else {}
    return found | ({"Networks": ", ".join(networks)} if networks else {})


def _prompt(graph: Graph, sampler: Node, name: str) -> str:
    for node in _upstream(graph, sampler, but=("model", "latent_image")):
        if _node(graph, _inputs(node).get(name)) is not None:
            return _text(graph, _node(graph, _inputs(node).get(name)))
    return ""


def _text(graph: Graph, node: Node | None) -> str:
    """The first text at or above a node."""
    for each in _upstream(graph, node, but=("clip", "model", "vae", "image", "pixels")) if node else ():
        inputs = _inputs(each)
        found = [inputs[name] for name in TEXTS if isinstance(inputs.get(name), str) and inputs[name].strip()]
        if found:
            return "\n".join(dict.fromkeys(found))
    return ""


def _empty_latent(graph: Graph, sampler: Node) -> Node | None:
    """The node that makes an empty latent for a sampler, without another sampler between them."""
    node = _above(graph, sampler, LATENTS)
    for _ in range(MOST_NODES):
        if node is None or "sampler" in node["class_type"].casefold():
            return None
        if "empty" in node["class_type"].casefold():
            return node
        node = _above(graph, node, LATENTS)
    return None


def _upstream(graph: Graph, node: Node, *, but: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Iterator[Node]:
    """The node and all that lead to it, the near ones first."""
    todo, seen = [node], {id(node)}
    for _ in range(MOST_NODES):
        if not todo:
            return
        node = todo.pop(0)
        yield node
        for name, value in _inputs(node).items():
            above = _node(graph, value)
            if above is not None and id(above) not in seen and name not in but and (not only or name in only):
                seen.add(id(above))
                todo.append(above)


def _above(graph: Graph, node: Node, names: tuple[str, ...]) -> Node | None:
    return next((above for name in names if (above := _node(graph, _inputs(node).get(name))) is not None), None)


def _node(graph: Graph, link: object) -> Node | None:
    """The node that an input is linked to: `[number, output]`."""
    if not isinstance(link, list) or len(link) != 2 or not isinstance(link[0], str | int):
        return None
    found = graph.get(str(link[0]))
    return found if _is_node(found) else None


def _is_node(node: object) -> bool:
    return isinstance(node, Mapping) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), Mapping)


def _is_text(node: Node, name: str) -> bool:
    return isinstance(_inputs(node).get(name), str)


def _inputs(node: Node) -> Mapping[str, Any]:
    return node.get("inputs") or {}


def _stem(name: str) -> str:
    """A file's name without its folders and ending."""
    plain = name.replace("\\", "/").rpartition("/")[2]
    head, dot, tail = plain.rpartition(".")
    return head if dot and tail.casefold() in ("safetensors", "ckpt", "pt", "pth", "bin", "sft", "gguf") else plain
