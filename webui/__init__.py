"""A web UI for Stable Diffusion that people can trust, extend and read."""

__version__ = "0.1.0"  # the one place: a picture's text and the page say it
