"""From `Config` to parts: the only place that turns flags into objects."""
