"""Which numbers soil moisture can have."""

import numpy as np

from gssm.possible import impossible


def test_fill_scaled_integers_and_percent_are_found_and_gaps_are_not():
    values = np.array([[np.nan, -0.1, 0.0], [0.3, 1.0, np.inf]])
    assert impossible(values).size == 0
    wrong = np.array([-9999.0, -0.11, 1.01, 35.0, 3500.0])
    np.testing.assert_array_equal(impossible(np.append(wrong, values)), wrong)
