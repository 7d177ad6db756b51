"""Which build of PyTorch a machine needs: a pure function of a description of the machine.

Source of the table: PyTorch's release compatibility matrix for 2.13 (stable CUDA 12.6 and 13.0, ROCm 7.2, XPU; macOS 14
on Apple silicon) and NVIDIA's minor version compatibility table (CUDA 13.x needs driver 580, CUDA 12.x driver 525).
"""

from __future__ import annotations

from dataclasses import dataclass

from webui.errors import UserError, unknown

TORCH_VERSION = "2.13.0"
INDEX = "https://download.pytorch.org/whl/"
BACKENDS = ("auto", "cuda", "rocm", "xpu", "mps", "cpu")
X86_64 = ("x86_64", "amd64")
ARM64 = ("arm64", "aarch64")
OLDEST_MACOS = 14
ROCM = "rocm7.2"
# What the ROCm wheels hold kernels for (Radeon VII and Instinct MI50, the RX 6800 class, and everything newer with a name here).
ROCM_TARGETS = frozenset(
    ("gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030")
    + ("gfx1100", "gfx1101", "gfx1102", "gfx1150", "gfx1151", "gfx1200", "gfx1201")
)
# Rough gigabytes to download, everything that torch brings included; the disk needs about three times that meanwhile.
DOWNLOAD_GB = {"cpu": 0.2, "mps": 0.1, "cu126": 3.0, "cu130": 2.5, ROCM: 5.0, "xpu": 2.0}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What decides the build; None means not there, or not found."""

    platform: str  # sys.platform: linux, win32, darwin
    arch: str  # platform.machine() in lower case
    nvidia_driver: tuple[int, ...] | None = None
    nvidia_capability: tuple[int, int] | None = None  # the newest of its NVIDIA devices
    rocm_target: str | None = None  # gfx name of its AMD device
    xpu: bool = False  # an Intel Arc or data centre GPU
    macos: int | None = None  # major version
    musl: bool = False  # a Linux without glibc (Alpine)


@dataclass(frozen=True, kw_only=True)
class TorchBuild:
    """One build of PyTorch: where it is, what to ask pip for, and why it was chosen."""

    name: str  # cpu, mps, cu130, cu126, rocm7.2, xpu
    index_url: str | None  # None: the ordinary package index has it
    requirement: str
    reason: str

    @property
    def backend(self) -> str:
        """The word that `--torch` knows this build by."""
        return "cuda" if self.name.startswith("cu") else "rocm" if self.name.startswith("rocm") else self.name

    def plain(self) -> TorchBuild:
        """Return the same version from the ordinary package index."""
        return TorchBuild(name=self.name, index_url=None, requirement=f"torch=={TORCH_VERSION}", reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class CudaBuild:
    """What one CUDA build runs on: drivers from `linux` or `windows` on, compute capabilities `oldest` to `newest`."""

    name: str
    linux: tuple[int, ...]
    windows: tuple[int, ...]
    oldest: tuple[int, int]
    newest: tuple[int, int] | None

    def driver(self, platform: str) -> tuple[int, ...]:
        """Return the oldest driver this build runs with."""
        return self.windows if platform == "win32" else self.linux

    def runs_on(self, machine: Machine) -> bool:
        """Tell whether driver and device are within this build's range; an unknown device is taken to be."""
        device = machine.nvidia_capability or self.oldest
        fits = self.oldest <= device and (self.newest is None or device <= self.newest)
        return fits and (machine.nvidia_driver is None or machine.nvidia_driver >= self.driver(machine.platform))


CUDA_BUILDS = (
    CudaBuild(name="cu130", linux=(580,), windows=(580,), oldest=(7, 5), newest=None),
    CudaBuild(name="cu126", linux=(525, 60), windows=(528, 33), oldest=(5, 0), newest=(9, 0)),
)


def choose_torch(machine: Machine, override: str | None = None) -> TorchBuild:
    """Return the build for `machine`, or the one `override` names (one of BACKENDS; None and "auto" choose).

    Raises UserError where PyTorch has no such build for the machine.
    """
    refuse_unsupported(machine)
    if override is not None and override not in BACKENDS:
        raise unknown("PyTorch build", override, BACKENDS)
    backend = automatic(machine) if override in (None, "auto") else str(override)
    if backend == "cuda":
        return cuda(machine, forced=override == "cuda")
    if backend == "rocm":
        return rocm(machine, forced=override == "rocm")
    if backend == "xpu":
        return xpu(machine)
    if backend == "mps" or machine.platform == "darwin":
        return mac(machine, backend)
    return cpu(machine, "you asked for it" if override == "cpu" else "no supported graphics processor was found")


def refuse_unsupported(machine: Machine) -> None:
    """Raise UserError where PyTorch has no build at all."""
    have = f"PyTorch {TORCH_VERSION} has no build for"
    if machine.platform == "darwin" and machine.arch not in ARM64:
        raise UserError(f"{have} Macs with an Intel processor; use Linux, Windows or a Mac with Apple silicon.")
    if machine.macos is not None and machine.macos < OLDEST_MACOS:
        raise UserError(f"{have} macOS {machine.macos}; update to macOS {OLDEST_MACOS} or newer.")
    if machine.musl:
        raise UserError(f"{have} Linux systems without glibc, such as Alpine; use another distribution or a container.")
    if machine.arch not in X86_64 + ARM64:
        raise UserError(f"{have} {machine.arch} processors; it needs a 64-bit x86 or ARM processor and a 64-bit Python.")


def automatic(machine: Machine) -> str:
    """Return the backend that suits the devices found, the fastest first."""
    if machine.platform == "darwin":
        return "mps"
    if machine.nvidia_driver is not None:
        return "cuda"
    if machine.rocm_target is not None:
        return "rocm"
    return "xpu" if machine.xpu and machine.arch in X86_64 else "cpu"


def cuda(machine: Machine, *, forced: bool) -> TorchBuild:
    """Return the newest CUDA build that driver and device allow; without one, the CPU build with what to do about it."""
    if machine.platform == "darwin":
        raise UserError("PyTorch has no CUDA build for macOS; leave out --torch to use the Mac's own graphics processor.")
    build = next((build for build in CUDA_BUILDS if build.runs_on(machine)), None)
    if build is None and not forced:
        return cpu(machine, driver_advice(machine))
    if build is None:
        raise UserError(f"No CUDA build of PyTorch {TORCH_VERSION} fits: {driver_advice(machine)}.")
    reason = "you asked for it" if forced else f"NVIDIA driver {dotted(machine.nvidia_driver)} was found"
    return indexed(build.name, reason)


def driver_advice(machine: Machine) -> str:
    """Return what stands between this NVIDIA device and the CUDA builds."""
    newest, oldest = CUDA_BUILDS[0], CUDA_BUILDS[-1]
    device = machine.nvidia_capability
    if device is not None and device < oldest.oldest:
        return f"this NVIDIA device has compute capability {dotted(device)}, the oldest supported is {dotted(oldest.oldest)}"
    recent = oldest.newest is not None and device is not None and device > oldest.newest
    needed = (newest if recent else oldest).driver(machine.platform)
    return f"NVIDIA driver {dotted(machine.nvidia_driver)} is too old for this device, update it to {dotted(needed)} or newer"


def rocm(machine: Machine, *, forced: bool) -> TorchBuild:
    """Return the ROCm build, which exists for Linux on x86 only."""
    if machine.platform != "linux" or machine.arch not in X86_64:
        if forced:
            raise UserError("PyTorch has a ROCm build for Linux on x86 processors only; leave out --torch, or use --torch cpu.")
        return cpu(machine, "PyTorch supports AMD devices under Linux only")
    if not forced and machine.rocm_target not in ROCM_TARGETS:
        return cpu(machine, f"the AMD device ({machine.rocm_target}) is not one that PyTorch's ROCm build supports")
    return indexed(ROCM, "you asked for it" if forced else f"the AMD device {machine.rocm_target} was found")


def xpu(machine: Machine) -> TorchBuild:
    """Return the build for Intel devices, which exists for Linux and Windows on x86."""
    if machine.platform == "darwin" or machine.arch not in X86_64:
        raise UserError("PyTorch has an XPU build for Linux and Windows on x86 processors only; leave out --torch.")
    return indexed("xpu", "an Intel Arc device was found" if machine.xpu else "you asked for it")


def mac(machine: Machine, backend: str) -> TorchBuild:
    """Return the one build for Macs, which runs on both the graphics processor and the CPU."""
    if machine.platform != "darwin":
        raise UserError("The MPS build of PyTorch exists for Macs only; leave out --torch to choose what fits this machine.")
    reason = "this is a Mac with Apple silicon" if backend == "mps" else "a Mac has one build for both processors"
    return TorchBuild(name=backend, index_url=None, requirement=f"torch=={TORCH_VERSION}", reason=reason)


def cpu(machine: Machine, reason: str) -> TorchBuild:
    """Return the CPU build; only on Windows with an x86 processor it is what the ordinary index has."""
    if machine.platform == "win32" and machine.arch in X86_64:
        return TorchBuild(name="cpu", index_url=None, requirement=f"torch=={TORCH_VERSION}", reason=reason)
    return indexed("cpu", reason)


def indexed(name: str, reason: str) -> TorchBuild:
    """Return the build that PyTorch's own index keeps under `name`."""
    return TorchBuild(name=name, index_url=INDEX + name, requirement=f"torch=={TORCH_VERSION}+{name}", reason=reason)


def dotted(version: tuple[int, ...] | None) -> str:
    """Return (580, 65) as 580.65, and None as "of unknown version"."""
    return "of unknown version" if version is None else ".".join(str(part) for part in version)
