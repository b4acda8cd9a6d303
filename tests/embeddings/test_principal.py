"""Principal components against the singular values of all rows at once."""

import numpy as np
import pytest

from tfssl.embeddings.principal import Principal, normalized
from tfssl.errors import DataError


def rows(n=300, f=7):
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((n, f)) @ rng.standard_normal((f, f))
    return (mixed + 1000).astype(np.float32)  # a mean that costs digits


def test_equals_the_decomposition_of_all_rows():
    x = rows()
    found = Principal.fit([x[:100], x[100:101], x[:0], x[101:]], 3)
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(found.variance, values[:3] ** 2 / 299, rtol=1e-4)
    np.testing.assert_allclose(np.abs(found.components @ directions[:3].T),
                               np.eye(3), atol=1e-4)  # fmt: skip
    share = (values[:3] ** 2).sum() / (values**2).sum()
    assert found.kept == pytest.approx(share, rel=1e-5)
    np.testing.assert_allclose(found.apply(x), centred @ found.components.T, atol=1e-2)


def test_signs_are_settled():
    found = Principal.fit([rows()], 7)
    largest = np.abs(found.components).argmax(axis=1)
    assert (found.components[np.arange(7), largest] > 0).all()


def test_saved_and_loaded(tmp_path):
    found = Principal.fit([rows()], 2)
    found.save(tmp_path / "pca.npz")
    again = Principal.load(tmp_path / "pca.npz")
    np.testing.assert_array_equal(found.apply(rows()), again.apply(rows()))
    assert again.kept == found.kept


@pytest.mark.parametrize(("n", "f", "most"), [(300, 7, 7), (4, 7, 4)])
def test_more_components_than_there_are(n, f, most):
    with pytest.raises(DataError, match=f"at most {most}"):
        Principal.fit([rows(n, f)], 8)


def test_a_row_of_zeros_stays_one():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(normalized(x), [[0.6, 0.8], [0, 0]])
