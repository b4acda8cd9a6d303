"""TensorFlow's machinery: devices, collectives, seeds, variables. Knows no images."""
