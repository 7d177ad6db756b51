"""Samplers and schedules of other programs by the names that pictures' texts have for them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SAMPLERS: Mapping[str, str] = MappingProxyType({
    "euler": "Euler", "euler_ancestral": "Euler a", "euler_a": "Euler a", "heun": "Heun", "heunpp2": "HeunPP2", "lms": "LMS",
    "dpm_2": "DPM2", "kdpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a", "dpm_2_a": "DPM2 a", "kdpm_2_a": "DPM2 a",
    "dpm_fast": "DPM fast", "dpm_adaptive": "DPM adaptive", "dpmpp_2s_ancestral": "DPM++ 2S a", "dpmpp_2s": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE", "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun", "ddpm": "DDPM", "lcm": "LCM", "ipndm": "IPNDM", "ipndm_v": "IPNDM_V",
    "deis": "DEIS", "restart": "Restart", "ddim": "DDIM", "ddim_v3": "DDIM", "plms": "PLMS", "pndm": "PLMS", "uni_pc": "UniPC",
    "unipc": "UniPC", "uni_pc_bh2": "UniPC", "tcd": "TCD",
})  # fmt: skip
SCHEDULES: Mapping[str, str] = MappingProxyType({
    "normal": "Normal", "karras": "Karras", "exponential": "Exponential", "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform", "simple": "Simple", "ddim_uniform": "DDIM", "beta": "Beta", "kl_optimal": "KL Optimal",
    "align_your_steps": "Align Your Steps", "ays": "Align Your Steps", "turbo": "Turbo", "native": "Automatic",
})  # fmt: skip
KARRAS = "_k"


def sampler_and_schedule(sampler: str, schedule: str = "") -> dict[str, str]:
    """Sampler and schedule as values of a text; a name that is not known stays as it is."""
    plain = sampler.strip().casefold().removeprefix("k_").removesuffix("_gpu")
    if plain not in SAMPLERS and plain.endswith(KARRAS):
        plain, schedule = plain.removesuffix(KARRAS), schedule or "karras"
    found = {"Sampler": SAMPLERS.get(plain, sampler)} if sampler else {}
    named = SCHEDULES.get(schedule.strip().casefold(), schedule)
    return found | ({"Schedule type": named} if named else {})
