"""Run directories in buckets: a local copy, pulled and pushed."""
