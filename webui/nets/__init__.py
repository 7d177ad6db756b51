"""The networks: plain torch modules built from a spec, whose attribute names are the published checkpoints' keys."""
