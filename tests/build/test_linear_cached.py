"""`--linear_features=cached` against scikit-learn, on pixels; features made once."""

import dataclasses
import functools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tfssl import build
from tfssl.build import kept_features, linear_cached, trained
from tfssl.build.trained import Trained
from tfssl.build.views import transform
from tfssl.config import Config, resolve
from tfssl.errors import DataError
from tfssl.runs import RunDirectory


@pytest.fixture(scope="module")
def given():
    """Flags, pixels as an encoder, and both splits."""
    flags = resolve(
        Config(dataset="shapes:200", image_size=16, linear_features="cached")
    )
    flags = dataclasses.replace(flags, progress=False)
    run = Trained("run", flags, None, None, None, transform(flags))
    train = build.source(flags, "train")
    return flags, trained.raw_pixels(run), train, build.evaluation_source(flags)


def test_the_classifier_is_scikit_learns_and_is_found_again(
    given, tmp_path, monkeypatch
):
    flags, pixels, train, held_out = given
    few = functools.partial(linear_cached.chosen, values=(1e-2, 1.0, 100.0))
    monkeypatch.setattr(linear_cached, "chosen", few)
    own = RunDirectory(tmp_path)
    first = linear_cached.evaluate(flags, pixels, train, held_out, own)
    linear, answers, words = first
    assert len(answers) == held_out.num_examples
    rows, asked = pixels.features(train), pixels.features(held_out)
    c = 1 / words["found"]["l2"]
    want = LogisticRegression(C=c, max_iter=5000).fit(rows.features, rows.labels)
    right = np.mean(answers.features[:, 0] == answers.labels)
    assert right == pytest.approx(want.score(asked.features, asked.labels), abs=0.02)
    assert words["settings"] == {
        "features": "cached",
        "flips": False,
        "label_fraction": "1",
    }

    def shards(run, source, wanted, **_):
        assert not wanted, "features were made again"
        return ()

    monkeypatch.setattr(kept_features.vectors, "shards", shards)
    again = linear_cached.evaluate(flags, pixels, train, held_out, own)
    np.testing.assert_array_equal(again[1].features, answers.features)
    np.testing.assert_array_equal(again[0].weights, linear.weights)


def test_mirrored_images_count_as_well(given, tmp_path, monkeypatch):
    flags, pixels, train, held_out = given
    seen = []
    real = linear_cached.chosen

    def spy(features, *args, **more):
        seen.append(features)
        return real(features, *args, **more, values=(1.0,))

    monkeypatch.setattr(linear_cached, "chosen", spy)
    flips = dataclasses.replace(flags, linear_flips=True)
    linear_cached.evaluate(flips, pixels, train, held_out, RunDirectory(tmp_path))
    (features,) = seen
    assert len(features) == 2 * train.num_examples
    half = len(features) * 9 // 20  # nine tenths as they are, then mirrored
    one, other = (features[i].reshape(16, 16, 3) for i in (0, half))
    np.testing.assert_array_equal(one, other[:, ::-1])


def test_too_few_to_choose_among_is_refused(given, tmp_path):
    flags, pixels, _, held_out = given
    few = build.source(dataclasses.replace(flags, dataset="shapes:200"), "train[:15]")
    with pytest.raises(DataError, match="one image|disk|ring"):
        linear_cached.evaluate(flags, pixels, few, held_out, RunDirectory(tmp_path))
