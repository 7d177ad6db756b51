"""A web UI for Stable Diffusion that people can trust, extend and read."""
