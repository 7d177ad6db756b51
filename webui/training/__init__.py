"""Training of the VAE, CLIP's two towers and the noise predictor: short loops over tensors somebody else prepared."""
