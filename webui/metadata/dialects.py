"""What other programs write about their pictures, as the values that texts have: NovelAI, InvokeAI, Fooocus.

Each reader is given the file's texts by name and answers None where it is not the one that wrote them. What has no key here is
answered beside the text, by its own name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webui.infotext import Infotext
from webui.metadata import comfyui
from webui.metadata.bounds import clean
from webui.metadata.names import sampler_and_schedule

LONGEST_SHOWN = 2000  # characters of a value that has no key
DEEPEST_BRACES = 200
CLOSED = {"}": ":1.05)", "]": ":0.952)"}  # NovelAI's emphasis in the words of texts
INVOKE = {"positive_prompt", "generation_mode", "app_version", "cfg_scale"}  # one of which all of its versions write
DREAM = re.compile(r'^"(?P<prompt>.*)"\s+(?P<flags>-.*)$', re.DOTALL)
FLAG = re.compile(r"(?:^|\s)-(s|S|W|H|C|A)\s*(\S+)")
FLAGS = {"s": "Steps", "S": "Seed", "C": "CFG scale"}
Texts = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """A text in another program's form: `program` is its name, `unmapped` what has no key, as text by its own name."""

    program: str
    info: Infotext
    unmapped: Mapping[str, str] = field(default_factory=dict)


def translated(texts: Texts) -> Dialect | None:
    """What the file's texts say, whichever program wrote them; None where none is known that did."""
    for reader in READERS:
        found = reader(texts)
        if found is not None:
            return found
    return None


def flat(text: str) -> dict[str, str]:
    """The texts in a JSON object of them, by name; nothing where it is none."""
    return {name: clean(value) for name, value in (_object(text) or {}).items() if isinstance(value, str)}


def novelai(texts: Texts) -> Dialect | None:
    """NovelAI: the prompt as a description, the rest as JSON in a comment."""
    said = _object(texts.get("Comment", ""))
    if "NovelAI" not in texts.get("Software", "") + texts.get("Title", "") or said is None:
        return None
    rest = dict(said)
    caption = _caption(rest.get("v4_prompt"))
    prompt = _string(rest.pop("prompt", None)) or texts.get("Description", "")
    negative = _string(rest.pop("uc", None)) or _caption(rest.get("v4_negative_prompt"))
    values = _numbers(rest, {"steps": "Steps", "scale": "CFG scale", "seed": "Seed", "cfg_rescale": "CFG rescale"})
    values |= sampler_and_schedule(_string(rest.pop("sampler", None)), _string(rest.pop("noise_schedule", None)))
    values |= _sides(rest, "width", "height")
    if "img2img" in _string(rest.get("request_type")).casefold():
        values |= _numbers(rest, {"strength": "Denoising strength"})
    if not caption:  # its first models read the layer before the last, and count this to the seed of the steps' noise
        values |= {"Clip skip": "2", "ENSD": "31337"}
    if texts.get("Source"):
        values["Model"] = texts["Source"]
    info = Infotext(prompt=_braces(prompt or caption), negative=_braces(negative), values=values)
    return Dialect(program="NovelAI", info=info, unmapped=_rest(rest))


def invokeai(texts: Texts) -> Dialect | None:
    """InvokeAI: JSON under names of its own; its first versions wrote a command line."""
    said = _object(texts.get("invokeai_metadata", ""))
    if said is not None and said.keys() & INVOKE:
        return _invoke(dict(said))
    old = _object(texts.get("sd-metadata", ""))
    if old is not None and isinstance(old.get("image"), Mapping):
        return _invoke({key: value for key, value in old.items() if key != "image"} | dict(old["image"]))
    found = DREAM.match(texts.get("Dream", ""))
    if found is None:
        return None
    flags = dict(FLAG.findall(found["flags"]))
    values = {FLAGS[flag]: value for flag, value in flags.items() if flag in FLAGS} | sampler_and_schedule(flags.get("A", ""))
    values |= {"Size": f"{flags['W']}x{flags['H']}"} if {"W", "H"} <= flags.keys() else {}
    prompt, negative = _bracketed(found["prompt"])
    return Dialect(program="InvokeAI", info=Infotext(prompt=prompt, negative=negative, values=values))


def fooocus(texts: Texts) -> Dialect | None:
    """Fooocus: JSON where others have their text, with names in either of two spellings."""
    said = _object(texts.get("parameters", "")) or _object(texts.get("UserComment", "")) or _object(texts.get("Comment", ""))
    if said is None:
        return None
    rest = {key.casefold().replace(" ", "_"): value for key, value in said.items()}
    if not rest.keys() >= {"prompt", "negative_prompt"} or not rest.keys() & {"performance", "base_model", "metadata_scheme"}:
        return None
    prompt, negative = _string(rest.pop("prompt")), _string(rest.pop("negative_prompt"))
    names = {"steps": "Steps", "guidance_scale": "CFG scale", "seed": "Seed", "clip_skip": "Clip skip"}
    values = _numbers(rest, names)
    values |= sampler_and_schedule(_string(rest.pop("sampler", None)), _string(rest.pop("scheduler", None)))
    if match := re.fullmatch(r"\D*(\d+)\D+(\d+)\D*", _string(rest.pop("resolution", None))):
        values["Size"] = f"{match[1]}x{match[2]}"
    values |= _strings(rest, {"base_model": "Model", "base_model_hash": "Model hash", "version": "Version"})
    refiner = _string(rest.pop("refiner_model", None))
    if refiner not in ("", "None"):
        values |= {"Refiner": refiner} | _numbers(rest, {"refiner_switch": "Refiner switch at"})
    vae = _string(rest.pop("vae", None))
    values |= {"VAE": vae} if vae and not vae.startswith("Default") else {}
    values |= {"RNG": "CPU"} if "Seed" in values else {}
    if "Model" in values:
        values["Model"] = re.sub(r"\.(safetensors|ckpt)$", "", values["Model"])
    return Dialect(program="Fooocus", info=Infotext(prompt=prompt, negative=negative, values=values), unmapped=_rest(rest))


def comfy(texts: Texts) -> Dialect | None:
    """ComfyUI: a graph as JSON; in EXIF with its name before it."""
    for text in (texts.get("prompt", ""), *(texts.get(name, "").partition(":")[2] for name in ("Make", "Model"))):
        graph = _object(text)
        if graph is not None and comfyui.is_graph(graph):
            return Dialect(program="ComfyUI", info=_tidy(comfyui.read(graph) or Infotext()))
    there = _object(texts.get("workflow", "")) or {}
    return Dialect(program="ComfyUI", info=Infotext()) if "nodes" in there else None


READERS: tuple[Callable[[Texts], Dialect | None], ...] = (novelai, invokeai, fooocus, comfy)


def _invoke(rest: dict[str, Any]) -> Dialect:
    words = rest.pop("positive_prompt", None) or rest.pop("prompt", None)
    prompt, negative = _weighted(words), _string(rest.pop("negative_prompt", None))
    if not negative and "positive_prompt" not in rest:
        prompt, negative = _bracketed(prompt) if isinstance(words, list) else (prompt, negative)
    values = _numbers(rest, {
        "steps": "Steps", "cfg_scale": "CFG scale", "seed": "Seed", "strength": "Denoising strength", "clip_skip": "Clip skip",
        "cfg_rescale_multiplier": "CFG rescale",
    })  # fmt: skip
    if values.get("Clip skip", "").isdecimal():  # it counts the layers left out
        values["Clip skip"] = str(int(values["Clip skip"][:6]) + 1)
    if values.get("CFG rescale") in ("0", "0.0"):
        del values["CFG rescale"]
    values |= sampler_and_schedule(_string(rest.pop("scheduler", None)) or _string(rest.pop("sampler", None)))
    values |= _sides(rest, "width", "height")
    for key, name in (("model", "Model"), ("vae", "VAE")):
        said = rest.pop(key, None)
        named = _string(said) or _string(_of(said, "name")) or _string(_of(said, "model_name"))
        values |= {name: named} if named else {}
    values |= {"RNG": "CPU"} if _string(rest.get("rand_device")) == "cpu" else {}
    info = Infotext(prompt=prompt, negative=negative, values=values)
    return Dialect(program="InvokeAI", info=_tidy(info), unmapped=_rest(rest))


def _object(text: str) -> Mapping[str, Any] | None:
    """The JSON object that a text is; None where it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return {clean(str(key)): value for key, value in found.items()} if isinstance(found, Mapping) else None


def _string(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""


def _of(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _number(value: object) -> str:
    """A number as text; some programs write them as text."""
    if isinstance(value, bool):
        return ""
    try:
        return str(value) if isinstance(value, int | float) else clean(value)[:100] if isinstance(value, str) else ""
    except ValueError:  # too long for Python to write
        return ""


def _numbers(rest: dict[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    found = {key: _number(rest.get(name)) for name, key in names.items()}
    for name, key in names.items():
        if found[key]:
            rest.pop(name)
    return {key: value for key, value in found.items() if value}


def _strings(rest: dict[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    found = {key: _string(rest.get(name)) for name, key in names.items()}
    for name, key in names.items():
        if found[key]:
            rest.pop(name)
    return {key: value for key, value in found.items() if value}


def _sides(rest: dict[str, Any], width: str, height: str) -> dict[str, str]:
    sides = [_number(rest.get(name)) for name in (width, height)]
    if not all(side.isdecimal() for side in sides):
        return {}
    del rest[width], rest[height]
    return {"Size": "x".join(sides)}


def _rest(rest: Mapping[str, Any]) -> dict[str, str]:
    """What has no key, as text."""
    found = {}
    for name, value in rest.items():
        if value in (None, "", [], {}):
            continue
        try:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        except (ValueError, RecursionError):
            continue
        found[clean(name)[:100]] = clean(shown[:LONGEST_SHOWN])
    return found


def _tidy(info: Infotext) -> Infotext:
    """The same without halves of signs, which JSON can hold."""
    return Infotext(prompt=clean(info.prompt), negative=clean(info.negative),
                    values={key: clean(value) for key, value in info.values.items()})


def _caption(said: object) -> str:
    return _string(_of(_of(said, "caption"), "base_caption"))


def _weighted(said: object) -> str:
    """A prompt that may be a list of texts with weights."""
    if isinstance(said, list):
        return ", ".join(_string(each) or _string(_of(each, "prompt")) for each in said)
    return _string(said)


def _bracketed(prompt: str) -> tuple[str, str]:
    """The prompt, and what stands in it in square brackets, which were the negative prompt."""
    negative = re.findall(r"\[([^\[\]]*)\]", prompt)
    return (re.sub(r"\[[^\[\]]*\]", "", prompt).strip(), ", ".join(negative)) if negative else (prompt, "")


def _braces(prompt: str) -> str:
    """NovelAI's `{more}` and `[less]` as brackets with weights, its round brackets as they stand; unbalanced ones stay."""
    signs, open_at = list(prompt), list[int]()
    for at, sign in enumerate(prompt):
        if sign in "()":
            signs[at] = f"\\{sign}"
        elif sign in "{[" and len(open_at) < DEEPEST_BRACES:
            open_at.append(at)
        elif sign in "}]" and open_at and prompt[open_at[-1]] + sign in ("{}", "[]"):
            signs[open_at.pop()] = "("
            signs[at] = CLOSED[sign]
    return "".join(signs)
