"""The page: Gradio controls made from the parameters, and our own elements for everything that moves."""
