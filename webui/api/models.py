"""The routes of what is known of the models: a list for everybody, and what an owner sets for a file."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from webui.api.asking import Told, Who, mapping, text
from webui.errors import NotAllowed
from webui.service.overrides import FileOptions
from webui.service.requests import Resolver
from webui.weights.families import FAMILIES


class ModelRoutes:
    """What `/x/model-files` answers."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/model-files", self.look, methods=["GET"])
        router.add_api_route("/x/model-files", self.change, methods=["POST"])
        return router

    def look(self, user: Who) -> JSONResponse:
        """Every model and VAE file with what is known of it, and which families there are."""
        networks = self._resolver.networks
        return JSONResponse({
            "models": self._resolver.models(), "vaes": self._resolver.vae_files(), "may_change": user.owner,
            "estimators": networks.shown(networks.estimators()), "upscalers": networks.shown(networks.upscalers()),
            "families": [{"name": name, "title": spec.title} for name, spec in FAMILIES.items()],
        })  # fmt: skip

    def change(self, given: Told, user: Who) -> JSONResponse:
        """Set what a file is or what suits it: {"model": name, "options": {name: value}}; what is not among them is its own."""
        if not user.owner:
            raise NotAllowed("What a model file is holds for everybody; only an owner may change it.")
        self._resolver.set_options(text(given, "model"), FileOptions.read(mapping(given, "options")))
        return self.look(user)
