"""The engine's networks, made when first needed: each model is measured or judged once, and computes as suits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from webui.engine.batching import RowCall
from webui.engine.device import Choice
from webui.engine.local import LocalNetworks
from webui.engine.networks import Predicted
from webui.pipeline.protocol import Call, Conditioning, Decode, Encode, EncodePicture, Row
from webui.weights.model import LoadedModel


class LazyNetworks:
    """Hands each ask to the networks of the device and number type that `choice_for` gives for its model. For one thread."""

    def __init__(self, load: Callable[[str], LoadedModel], choice_for: Callable[[LoadedModel], Choice]) -> None:
        self._load = load
        self._choice_for = choice_for
        self._choices: dict[str, Choice] = {}
        self._networks: dict[Choice, LocalNetworks] = {}
        self._fresh: dict[str, LoadedModel] = {}  # loaded for the choice, and taken by the first ask after it

    def predict(self, call: RowCall) -> Predicted:
        """The predicted clean latents of rows of one network."""
        return self._of(call.rows[0].network).predict(call)

    def encode(self, ask: Encode) -> Conditioning:
        """What a text means."""
        return self._of(ask.network).encode(ask)

    def encode_picture(self, ask: EncodePicture) -> Tensor:
        """The scaled latent of a picture."""
        return self._of(ask.network).encode_picture(ask)

    def decode(self, ask: Decode) -> Tensor:
        """The picture of a scaled latent."""
        return self._of(ask.network).decode(ask)

    def call(self, ask: Call) -> Any:
        """The output of any other network."""
        return self._of(ask.network).call(ask)

    def device_of(self, network: str) -> str:
        """Where the answers for a network come from."""
        return self._of(network).choice.device

    def ready(self, row: Row) -> bool:
        """Whether the row's network and patches are held now."""
        choice = self._choices.get(row.network)
        return choice is not None and self._networks[choice].ready(row)

    def free(self) -> None:
        """Give back all memory that can be had again."""
        for networks in self._networks.values():
            networks.free()

    def _of(self, network: str) -> LocalNetworks:
        if network not in self._choices:
            model = self._load(network)
            choice = self._choice_for(model)
            self._fresh = {network: model}
            if choice not in self._networks:
                self._networks[choice] = LocalNetworks(self._take, choice)
            self._choices[network] = choice
        return self._networks[self._choices[network]]

    def _take(self, network: str) -> LoadedModel:
        return self._fresh.pop(network, None) or self._load(network)
