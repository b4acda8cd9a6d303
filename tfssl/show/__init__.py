"""What a person sees of a run: console, TensorBoard, the report page."""
