"""What this machine is, as far as the choice of a torch build goes. Every probe that fails means: not there."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from webui.install.torch_build import Machine

PROBE_SECONDS = 15
WSL_NVIDIA_SMI = "/usr/lib/wsl/lib/nvidia-smi"
# PCI device numbers of Intel's devices that PyTorch's XPU build supports: Ponte Vecchio, Arc A (DG2), Arc B (Battlemage).
INTEL_VENDOR = 0x8086
INTEL_DEVICES = (range(0x0BD0, 0x0BDC), range(0x5690, 0x56C0), range(0xE200, 0xE300))


def look() -> Machine:
    """Return this machine's description; takes up to a few seconds, so it is asked before installing only."""
    nvidia = nvidia_devices()
    found = sys.platform in ("linux", "win32") and nvidia is None
    return Machine(
        platform=sys.platform,
        arch=platform.machine().lower() if sys.maxsize > 2**32 else "32-bit",
        nvidia_driver=nvidia[0] if nvidia else None,
        nvidia_capability=nvidia[1] if nvidia else None,
        rocm_target=rocm_target(kfd_properties()) if found else None,
        xpu=found and has_intel_device(),
        macos=int(platform.mac_ver()[0].split(".")[0] or 0) if sys.platform == "darwin" else None,
        musl=sys.platform == "linux" and any(Path("/lib").glob("ld-musl-*")) and platform.libc_ver()[0] != "glibc",
    )


def output_of(*command: str) -> str | None:
    """Return what a program prints, or None if it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def nvidia_devices() -> tuple[tuple[int, ...], tuple[int, int] | None] | None:
    """Return the NVIDIA driver's version and the newest device's compute capability."""
    program = shutil.which("nvidia-smi") or (WSL_NVIDIA_SMI if Path(WSL_NVIDIA_SMI).exists() else None)
    if program is None:
        return None
    # Drivers before 510 do not know compute_cap and refuse the whole question.
    for fields in ("driver_version,compute_cap", "driver_version"):
        text = output_of(program, f"--query-gpu={fields}", "--format=csv,noheader")
        if text is not None and (parsed := parse_nvidia(text)) is not None:
            return parsed
    return None


def parse_nvidia(text: str) -> tuple[tuple[int, ...], tuple[int, int] | None] | None:
    """Read nvidia-smi's `driver_version, compute_cap` lines, one per device; None if they hold no version.

    >>> parse_nvidia("580.65.06, 8.6\\n580.65.06, 12.0\\n")
    ((580, 65, 6), (12, 0))
    """
    driver: tuple[int, ...] | None = None
    capabilities: list[tuple[int, int]] = []
    for line in text.splitlines():
        match = re.match(r"\s*(\d+(?:\.\d+)+)\s*(?:,\s*(\d+)\.(\d+))?", line)
        if match is None:
            continue
        driver = tuple(int(part) for part in match[1].split("."))
        if match[2] is not None:
            capabilities.append((int(match[2]), int(match[3])))
    return None if driver is None else (driver, max(capabilities, default=None))


def kfd_properties() -> list[str]:
    """Return the text of every node that Linux's AMD compute driver lists."""
    found = []
    for path in sorted(Path("/sys/class/kfd/kfd/topology/nodes").glob("*/properties")):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return found


def rocm_target(nodes: Iterable[str]) -> str | None:
    """Return the gfx name of the newest AMD device among the driver's nodes (a CPU node has version 0).

    >>> rocm_target(["gfx_target_version 0", "gfx_target_version 110001"])
    'gfx1101'
    """
    versions = [int(match[1]) for node in nodes if (match := re.search(r"^gfx_target_version (\d+)", node, re.MULTILINE))]
    newest = max(versions, default=0)
    return f"gfx{newest // 10000}{newest // 100 % 100:x}{newest % 100:x}" if newest else None


def has_intel_device() -> bool:
    """Tell whether an Intel graphics device that PyTorch supports is installed."""
    if sys.platform == "win32":
        names = output_of("powershell", "-NoProfile", "-Command", "(Get-CimInstance Win32_VideoController).Name")
        return names is not None and re.search(r"\bIntel\b.*\bArc\b", names) is not None
    for device in Path("/sys/class/drm").glob("card*/device"):
        try:
            vendor, number = (int((device / name).read_text(), 16) for name in ("vendor", "device"))
        except (OSError, ValueError):
            continue
        if vendor == INTEL_VENDOR and is_intel_device(number):
            return True
    return False


def is_intel_device(number: int) -> bool:
    """Tell whether a PCI device number of Intel's is one that PyTorch's XPU build supports."""
    return any(number in numbers for numbers in INTEL_DEVICES)
