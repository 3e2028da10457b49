"""The table of a product, date by date."""

import numpy as np

import gssm
from cubes import make_cube
from gssm import quality
from gssm.summary import summarize

PRODUCT = gssm.predict(make_cube())


def test_flags_that_occur_are_columns_with_their_share():
    table = summarize(PRODUCT)
    flags = PRODUCT["quality_flag"].isel(time=0).values
    for flag in quality.FLAGS:
        share = (flags & flag.mask != 0).mean()
        assert table[flag.meaning].iloc[0] == share if flag.meaning in table else share == 0


def test_a_masked_product_has_values_and_no_shares():
    table = summarize(PRODUCT.where(PRODUCT["quality_flag"] & 32 == 0))
    assert not {flag.meaning for flag in quality.FLAGS} & set(table)
    np.testing.assert_array_equal(table["mean"], summarize(PRODUCT)["mean"])
