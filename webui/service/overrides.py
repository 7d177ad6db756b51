"""What an owner set for a weight file against what it says itself: kept by the file's hash, whatever it is called.

It is a file in the data folder rather than a table, for the command line and the engine's own process read it too.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webui.drawing import Drawing
from webui.errors import StorageError, UserError, quoted, unknown
from webui.params import LARGEST_SIDE, Params, param, parameters
from webui.weights import remembered
from webui.weights.families import FAMILIES, Override

FILE = "models.json"  # in the data folder
PREDICTIONS = ("eps", "v")
NETWORK = ("family", "prediction", "zero_terminal_snr", "native_size")  # what changes the model itself, and not only its defaults


def _as_in(name: str, help_: str) -> Any:
    """A field like that of a picture's parameters, which leaves it to the file where it is not set."""
    like = parameters(Drawing)[name]
    return param(None, like.label, min=like.min, max=like.max, step=like.step, unset="what the file says", help=help_)


@dataclass(frozen=True, kw_only=True)
class FileOptions(Params):
    """What may be set for a model's file; None leaves a thing to the file."""

    family: str | None = param(None, "Family", unset="what the file says", help="Which family the model belongs to.")
    prediction: str | None = param(
        None, "Prediction", unset="what the file says", help="What the network predicts: eps, the noise, or v, the velocity.")
    zero_terminal_snr: bool | None = param(
        None, "Zero terminal SNR", unset="what the file says", help="Whether it was trained down to pure noise.")
    native_size: int | None = param(
        None, "Native size", min=64, max=LARGEST_SIDE, step=8, unset="what the file says",
        help="The side of the square pictures it was trained with.")
    steps: int | None = _as_in("steps", "How many steps it takes where nobody says otherwise.")
    scale: float | None = _as_in("scale", "Its guidance where nobody says otherwise.")
    vae: str | None = param(
        None, "VAE", unset="the file beside the model, else its own", help="The autoencoder that is used with it where nobody "
        "chooses one.")

    def check_together(self) -> None:
        """Family and prediction are ones there are."""
        if self.family is not None and self.family not in FAMILIES:
            raise unknown("family", self.family, FAMILIES)
        if self.prediction is not None and self.prediction not in PREDICTIONS:
            raise UserError(f"Prediction was {quoted(self.prediction)}; it must be one of: {', '.join(PREDICTIONS)}.")

    def given(self) -> dict[str, Any]:
        """What is set, as plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def network(self) -> dict[str, Any]:
        """Of that, what changes the model itself: fields of `Override`."""
        return {name: value for name, value in self.given().items() if name in NETWORK}


NO_OPTIONS = FileOptions()


def override_of(plain: Mapping[str, Any]) -> Override | None:
    """What a request holds as an `Override`; None where nothing is set."""
    given = {name: value for name, value in plain.items() if name in NETWORK}
    return Override(**FileOptions.read(given).network()) if given else None


def in_words(plain: Mapping[str, Any]) -> str:
    """What a request holds of that, as a picture's text says it: "Prediction v; Native size 768"."""
    labels = parameters(FileOptions)
    return "; ".join(f"{labels[name].label} {plain[name]}" for name in NETWORK if name in plain)


class Overrides:
    """The options of files by their SHA-256. Safe from any thread; `path` is the JSON file, None for one that is always empty."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._turn = threading.Lock()

    def of(self, digest: str) -> FileOptions:
        """What is set for the file with that hash; what makes no sense any more is not."""
        if not digest:
            return NO_OPTIONS
        kept = remembered.read(self._path).get(digest)
        try:
            return FileOptions.read(kept) if isinstance(kept, dict) else NO_OPTIONS
        except UserError:
            return NO_OPTIONS

    def put(self, digest: str, options: FileOptions) -> None:
        """Set the options of a file, in place of all that were set; none at all takes them back. Raises `StorageError`."""
        if self._path is None:
            raise StorageError("Here nothing can be kept about files.")
        with self._turn:
            kept = {name: value for name, value in remembered.read(self._path).items() if name != digest}
            try:
                remembered.replace(self._path, kept | ({digest: options.given()} if options.given() else {}))
            except OSError as error:
                raise StorageError(f"{self._path} could not be written ({error.strerror}); make room and try again.") from error
