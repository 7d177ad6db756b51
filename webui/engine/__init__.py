"""The engine: rows of many generations in, few network calls out. Only it touches the accelerator."""
