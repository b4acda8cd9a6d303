"""The loop's bookkeeping, with a step that only counts."""

import signal
import types

import numpy as np
import pytest
import tensorflow as tf

from tfssl.errors import DivergenceError
from tfssl.train import Action, StopRequest, train


class Counter:
    """Stands in for RunState and the training function."""

    def __init__(self, start=0, losses=None, moves=None):
        self.step = tf.Variable(start, dtype=tf.int64)
        self.sizes = []
        self._losses = losses or (lambda step: float(step))
        self._moves = moves

    def run(self, iterator, count):
        first, count = int(self.step.numpy()), int(count)
        self.sizes.append(count)
        self.step.assign_add(count if self._moves is None else self._moves)
        losses = [self._losses(s) for s in range(first, first + count)]
        ones = np.ones(count, np.float32)
        return {
            "loss": tf.constant(losses, tf.float32),
            "gradient_norm": tf.constant(ones),
            "learning_rate": tf.constant(losses, tf.float32),
            "data_wait": tf.constant(0 * ones),
        }


def go(counter, **kwargs):
    rows = []
    settings = {
        "total_steps": 10,
        "steps_per_loop": 4,
        "log_every": 5,
        "images_per_step": 8,
        "on_row": rows.append,
    }
    done = train(counter, counter.run, iter(()), **(settings | kwargs))
    return done, rows


def test_calls_stop_at_every_boundary():
    counter, seen = Counter(), []
    done, rows = go(counter, actions=[Action(3, seen.append)])
    assert done
    assert counter.sizes == [3, 2, 1, 3, 1]
    assert seen == [3, 6, 9, 10]
    assert [row["step"] for row in rows] == [5, 10]


def test_rows_hold_means_and_the_last_learning_rate():
    _, rows = go(Counter())
    assert [row["loss"] for row in rows] == [2.0, 7.0]
    assert [row["learning_rate"] for row in rows] == [4.0, 9.0]
    assert all(row["images_per_second"] > 0 for row in rows)


def test_resume_meets_the_same_boundaries():
    counter, seen = Counter(start=4), []
    go(counter, actions=[Action(3, seen.append)])
    assert seen == [6, 9, 10]


def test_action_values_join_the_row():
    _, rows = go(Counter(), actions=[Action(5, lambda step: {"knn_top1": step / 10})])
    assert [row["knn_top1"] for row in rows] == [0.5, 1.0]


def test_every_zero_runs_at_the_end_only():
    seen = []
    go(Counter(), actions=[Action(0, seen.append)])
    assert seen == [10]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_loss_names_its_step_before_any_action(bad):
    seen = []
    counter = Counter(losses=lambda step: bad if step == 6 else 1.0)
    with pytest.raises(DivergenceError, match=r"the loss = (nan|inf) at step 6"):
        go(counter, actions=[Action(1, seen.append)], steps_per_loop=10)
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"gradient_norm": 5}, "the gradient = nan at step 5"),
        ({"weight_norm": 5, "loss": 6, "gradient_norm": 6}, "the weights = nan at"),
        ({"loss": 5, "gradient_norm": 5, "weight_norm": 5}, "the loss = nan at step 5"),
    ],
)
def test_what_went_wrong_first_is_named(bad, words):
    counter = Counter()

    def run(iterator, count):
        first = int(counter.step.numpy())
        steps = np.arange(first, first + int(count))
        table = counter.run(iterator, count) | {"weight_norm": tf.ones(len(steps))}
        for name, step in bad.items():
            broken = np.where(steps >= step, np.nan, table[name].numpy())
            table[name] = tf.constant(broken, tf.float32)
        return table

    with pytest.raises(DivergenceError, match=words):
        train(
            counter,
            run,
            iter(()),
            total_steps=10,
            steps_per_loop=10,
            log_every=10,
            images_per_step=1,
            on_row=lambda row: None,
        )


def test_all_workers_stop_where_one_was_asked():
    asked = iter([False, True])
    done, _ = go(Counter(), agree=lambda mine: next(asked))
    assert not done
    assert next(asked, None) is None


def test_counter_that_moves_wrongly_is_an_error():
    with pytest.raises(RuntimeError, match="step counter is 1 instead of 4"):
        go(Counter(moves=1))


def test_stop_runs_only_what_is_meant_for_it():
    saved, scored = [], []
    stop = types.SimpleNamespace(asked=True)
    done, rows = go(
        Counter(),
        stop=stop,
        actions=[Action(8, scored.append), Action(8, saved.append, at_stop=True)],
    )
    assert not done and saved == [4] and scored == []


def test_signal_sets_the_flag_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.asked
        signal.raise_signal(signal.SIGTERM)
        assert stop.name == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


def test_second_interrupt_is_final():
    with StopRequest(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
