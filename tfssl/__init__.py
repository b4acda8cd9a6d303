"""Self-supervised image representations in TensorFlow: BYOL, SimCLR and MoCo."""

__version__ = "0.1.0"
