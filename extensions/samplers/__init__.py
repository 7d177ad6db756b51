"""Further samplers and schedules: those that published pictures name, and newer ones. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from webui.extension import SamplerInfo, Schedule, hook

from .dpm_solver import dpm_adaptive, dpm_fast
from .multi_step import deis, ipndm, ipndm_v, lms, plms
from .schedules import SCHEDULES
from .single_step import dpm_2, dpm_2_ancestral, dpmpp_2s_ancestral, heunpp2, restart
from .stochastic import ddim_cfgpp, ddpm, dpmpp_2m_sde_heun, dpmpp_3m_sde, tcd
from .unipc import unipc_bh1, unipc_bh2, unipc_vary


@hook
def samplers() -> Sequence[SamplerInfo]:
    """The samplers; what each of them needs is said by `SamplerInfo`."""
    return [*_in_sigma(), *_on_training_steps()]


@hook
def schedules() -> Mapping[str, Schedule]:
    """The schedules, by their names."""
    return SCHEDULES


def _in_sigma() -> list[SamplerInfo]:
    return [
        SamplerInfo(
            name="DPM++ 2M SDE Heun", function=dpmpp_2m_sde_heun, schedule="Exponential", uses_noise=True, brownian=True,
            aliases=("k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"),
        ),
        SamplerInfo(
            name="DPM++ 2S a", function=dpmpp_2s_ancestral, schedule="Karras", evaluations=2, uses_noise=True, ensd=True,
            aliases=("k_dpmpp_2s_a", "dpmpp_2s_ancestral"),
        ),
        SamplerInfo(
            name="DPM++ 3M SDE", function=dpmpp_3m_sde, schedule="Exponential", uses_noise=True, brownian=True,
            discards_penultimate=True, aliases=("k_dpmpp_3m_sde", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
        ),
        SamplerInfo(name="LMS", function=lms, aliases=("k_lms",)),
        SamplerInfo(
            name="DPM2", function=dpm_2, schedule="Karras", evaluations=2, discards_penultimate=True,
            aliases=("k_dpm_2", "dpm_2"),
        ),
        SamplerInfo(
            name="DPM2 a", function=dpm_2_ancestral, schedule="Karras", evaluations=2, uses_noise=True, ensd=True,
            discards_penultimate=True, aliases=("k_dpm_2_a", "k_dpm_2_ancestral", "dpm_2_ancestral"),
        ),
        SamplerInfo(name="DPM fast", function=dpm_fast, uses_noise=True, own_steps=True, ensd=True, aliases=("k_dpm_fast",)),
        SamplerInfo(
            name="DPM adaptive", function=dpm_adaptive, evaluations=3, uses_noise=True, own_steps=True, ensd=True,
            aliases=("k_dpm_ad", "k_dpm_adaptive"),
        ),
        SamplerInfo(name="Restart", function=restart, schedule="Karras", evaluations=2, uses_noise=True),
        SamplerInfo(name="HeunPP2", function=heunpp2, evaluations=3, aliases=("Heun++", "k_heunpp2")),
        SamplerInfo(name="IPNDM", function=ipndm),
        SamplerInfo(name="IPNDM_V", function=ipndm_v),
        SamplerInfo(name="DEIS", function=deis),
        SamplerInfo(name="DDPM", function=ddpm, uses_noise=True),
    ]  # fmt: skip


def _on_training_steps() -> list[SamplerInfo]:
    return [
        SamplerInfo(name="TCD", function=tcd, schedule="TCD", uses_noise=True, timesteps=True),
        SamplerInfo(
            name="DDIM CFG++", function=ddim_cfgpp, schedule="DDIM timesteps", unit_start=True, timesteps=True, cfg_pp=True,
            aliases=("ddim_cfgpp",),
        ),
        SamplerInfo(name="PLMS", function=plms, schedule="DDIM timesteps", unit_start=True, timesteps=True),
        SamplerInfo(name="UniPC", function=unipc_bh1, schedule="UniPC", unit_start=True, timesteps=True, aliases=("uni_pc",)),
        SamplerInfo(
            name="UniPC bh2", function=unipc_bh2, schedule="UniPC", unit_start=True, timesteps=True, aliases=("uni_pc_bh2",)
        ),
        SamplerInfo(name="UniPC vary", function=unipc_vary, schedule="UniPC", unit_start=True, timesteps=True),
    ]  # fmt: skip
