"""Images as vectors on disk, and what they are for: neighbours, duplicates, choosing.

Free of TensorFlow: a table of embeddings is read and searched without it.
"""
