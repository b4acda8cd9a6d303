"""SimCLR's NT-Xent loss (2002.05709, equation 1), plain and in blocks of rows."""

from __future__ import annotations

import tensorflow as tf

from tfssl.errors import message
from tfssl.losses.normalize import as_float, l2_normalize

# The official code subtracts this from the logit of a row with itself; exp(-1e9) = 0.
MASK = 1e9

# Logits of one block where nobody says how large: 16 MB in float32.
BLOCK_LOGITS = 2**22


def nt_xent(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    temperature: float,
    z1_all: tf.Tensor | None = None,
    z2_all: tf.Tensor | None = None,
    offset: int | tf.Tensor = 0,
    normalize: bool = True,
    memory: tf.Tensor | None = None,
    block_rows: int | None = None,
) -> tf.Tensor:
    """Computes the cross entropy of finding each row's partner, both directions added.

    For row i of this replica, which is row `p = offset + i` of all rows:

        a_i = -log(e^(z1_i.z2_p/T) / S_i)
        S_i = sum_j e^(z1_i.z2_j/T) + sum_(j != p) e^(z1_i.z1_j/T)
        loss_i = a_i + (the same with z1 and z2 exchanged)

    With a memory of keys m (SimCLR v2, 2006.10029, section 2), every S_i has
    `sum_k e^(z_i.m_k/T)` more.

    The SUM of the directions is the official code's (google-research/simclr
    `tf2/objective.py`): exactly twice the paper's mean over 2N anchors. The factor is
    kept because it moves what LARS does not adapt (biases, batch norm) and the
    balance with weight decay.

    Several replicas: pass the gathered rows (`core.collectives.gather`, differentiable,
    so that negatives get gradient) and `offset = replica_id * batch`; then the mean
    over all replicas is the single-device loss of the global batch.

    Args:
      z1: `[batch, dim]`, projections of view 1, this replica's rows.
      z2: `[batch, dim]`, of view 2, row i being the partner of `z1[i]`.
      temperature: T > 0.
      z1_all: `[all, dim]`, view 1 of every replica in rank order; None: `z1`.
      z2_all: `[all, dim]`, likewise for view 2; None: `z2`.
      offset: Row of `z1_all` that holds `z1[0]`.
      normalize: Whether rows are divided by their norms first (`hidden_norm`).
      memory: `[keys, dim]`, normalised; further negatives, which get no gradient.
      block_rows: Rows whose `2 * all + keys` logits are made at a time; divides batch.
        With fewer than batch they are computed again for the gradient: same values,
        in memory `O(block_rows * all)`. None: batch while that makes at most
        `BLOCK_LOGITS` logits, else as many as do.

    Returns:
      float32 `[batch]`, >= 0.

    Raises:
      ValueError: one of `z1_all`, `z2_all` without the other; `block_rows` does not
        divide the batch.
    """
    z1, z2, z1_all, z2_all = _prepare(z1, z2, z1_all, z2_all, normalize)
    labels = _own_rows(z1, offset)
    # To an anchor of view 1, a key of the memory is what any row of view 1 is.
    same1, same2 = _with_memory(z1_all, memory), _with_memory(z2_all, memory)
    block_rows = block_rows or _fitting_rows(z1, z1_all, same1)
    direction = _direction
    if block_rows != z1.shape[0]:
        direction = _blocked(_checked_blocks(z1, block_rows), block_rows)
    scale = 1.0 / temperature
    return direction(z1 * scale, z2_all, same1, labels) + direction(
        z2 * scale, z1_all, same2, labels
    )


def nt_xent_scalars(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    temperature: float,
    z1_all: tf.Tensor | None = None,
    z2_all: tf.Tensor | None = None,
    offset: int | tf.Tensor = 0,
    normalize: bool = True,
) -> dict[str, tf.Tensor]:
    """Computes what the official code logs, on the cross-view logits of view 1 alone.

    That is a choice among N rows of view 2, not among the 2N - 1 rows of the loss, so
    the accuracy flatters and the entropy is at most log(N).

    Args:
      z1: `[batch, dim]`.
      z2: `[batch, dim]`.
      temperature: T > 0.
      z1_all: As in `nt_xent`, to be called with the same arguments; not read.
      z2_all: `[all, dim]` gathered rows of view 2; None: `z2`.
      offset: Row of `z2_all` that holds `z2[0]`.
      normalize: As in `nt_xent`.

    Returns:
      `{"contrastive_accuracy": in [0, 1], "entropy": nats}`, means over the rows.
    """
    prepared = _prepare(z1, z2, z1_all, z2_all, normalize)
    z1, _, _, z2_all = (tf.stop_gradient(z) for z in prepared)
    labels = _own_rows(z1, offset)
    block_rows = _fitting_rows(z1, z2_all, z2_all)
    if block_rows == z1.shape[0]:
        sums = _hits_and_entropy(z1, z2_all, labels, temperature)
    else:
        blocks = _checked_blocks(z1, block_rows)

        def add(i, hits, entropy):
            anchor, own = (_block(x, i, block_rows) for x in (z1, labels))
            more = _hits_and_entropy(anchor, z2_all, own, temperature)
            return i + 1, hits + more[0], entropy + more[1]

        sums = _loop(blocks, add, (tf.zeros([], z1.dtype),) * 2)
    rows = tf.cast(tf.shape(z1)[0], z1.dtype)
    return {"contrastive_accuracy": sums[0] / rows, "entropy": sums[1] / rows}


def _hits_and_entropy(z1, z2_all, labels, temperature):
    """Sums over rows: how many find their partner, and nats of their choice."""
    logits = tf.matmul(z1, z2_all, transpose_b=True) / temperature
    hit = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
    p = tf.nn.softmax(logits)
    entropy = -tf.reduce_sum(p * tf.math.log(p + 1e-8))
    return tf.reduce_sum(tf.cast(hit, z1.dtype)), entropy


def _prepare(z1, z2, z1_all, z2_all, normalize):
    if (z1_all is None) != (z2_all is None):
        raise ValueError(
            message(
                "only one of z1_all and z2_all",
                "both or neither",
                "gathering both views over replicas",
            )
        )
    ready = l2_normalize if normalize else as_float
    z1, z2 = ready(z1), ready(z2)
    if z1_all is None:
        return z1, z2, z1, z2
    return z1, z2, ready(z1_all), ready(z2_all)


def _with_memory(rows: tf.Tensor, memory: tf.Tensor | None) -> tf.Tensor:
    if memory is None:
        return rows
    return tf.concat([rows, tf.cast(tf.stop_gradient(memory), rows.dtype)], 0)


def _own_rows(z: tf.Tensor, offset: int | tf.Tensor) -> tf.Tensor:
    """int32 `[batch]`: the row of each anchor among all rows."""
    return tf.range(z.shape[0] or tf.shape(z)[0]) + tf.cast(offset, tf.int32)


def _logits(anchor, cross, same, labels):
    """Returns `[rows, columns]`: other view, then own view without the anchor."""
    others = tf.matmul(anchor, cross, transpose_b=True)
    own = tf.matmul(anchor, same, transpose_b=True)
    count = same.shape[0] or tf.shape(same)[0]
    own -= MASK * tf.one_hot(labels, count, dtype=own.dtype)
    return tf.concat([others, own], axis=1)


def _direction(anchor, cross, same, labels):
    """Cross entropy `[rows]`; anchors are already divided by the temperature."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=_logits(anchor, cross, same, labels)
    )


def _fitting_rows(z: tf.Tensor, cross: tf.Tensor, same: tf.Tensor) -> int | None:
    """Returns the most rows, dividing the batch, with at most BLOCK_LOGITS logits."""
    rows, others, own = (x.shape[0] for x in (z, cross, same))
    if rows is None or others is None or own is None:
        return rows
    limit = BLOCK_LOGITS // (others + own)
    fitting = (b for b in range(min(rows, limit), 0, -1) if rows % b == 0)
    return next(fitting, 1)


def _checked_blocks(z: tf.Tensor, block_rows: int) -> int:
    rows = z.shape[0]
    if rows is None or block_rows < 1 or rows % block_rows:
        raise ValueError(
            message(
                f"block_rows={block_rows} for a batch of {rows}",
                "a divisor of a batch size known when tracing",
                "a power of two",
            )
        )
    return rows // block_rows


def _blocked(blocks: int, block_rows: int):
    """Runs `_direction` over blocks of rows, one after the other, gradient recomputed.

    `parallel_iterations=1`: run side by side, the blocks would need the memory that
    they are there to save.
    """

    def rows_of(x, i):
        return _block(x, i, block_rows)

    @tf.custom_gradient
    def direction(anchor, cross, same, labels):
        def forward(i, out):
            piece = _direction(rows_of(anchor, i), cross, same, rows_of(labels, i))
            return i + 1, _write_rows(out, piece, i * block_rows)

        loss = _loop(blocks, forward, (tf.zeros([blocks * block_rows], anchor.dtype),))

        def gradient(upstream):
            count = tf.shape(cross)[0]

            def backward(i, d_anchor, d_cross, d_same):
                a, own = rows_of(anchor, i), rows_of(labels, i)
                # d CE / d logits = softmax - one_hot(label); the label is in `cross`.
                p = tf.nn.softmax(_logits(a, cross, same, own))
                up = rows_of(upstream, i)[:, None]
                to_cross = up * (p[:, :count] - tf.one_hot(own, count, dtype=p.dtype))
                to_same = up * p[:, count:]
                piece = tf.matmul(to_cross, cross) + tf.matmul(to_same, same)
                return (
                    i + 1,
                    _write_rows(d_anchor, piece, i * block_rows),
                    d_cross + tf.matmul(to_cross, a, transpose_a=True),
                    d_same + tf.matmul(to_same, a, transpose_a=True),
                )

            zeros = tuple(tf.zeros_like(x) for x in (anchor, cross, same))
            return (*_loop(blocks, backward, zeros), None)

        return loss[0], gradient

    return direction


def _block(x, i, block_rows):
    # tf.slice, whose size is static also where i is a tensor.
    rest = x.shape.rank - 1
    return tf.slice(x, [i * block_rows, *[0] * rest], [block_rows, *[-1] * rest])


def _loop(blocks, body, initial):
    return tf.while_loop(
        lambda i, *_: i < blocks,
        body,
        (tf.constant(0), *initial),
        parallel_iterations=1,
        maximum_iterations=blocks,
    )[1:]


def _write_rows(table, rows, start):
    index = (start + tf.range(rows.shape[0]))[:, None]
    return tf.tensor_scatter_nd_update(table, index, rows)
