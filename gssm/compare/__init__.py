"""Other products: readers, matching in time and place, and side-by-side reports.

`gssm.compare` is the function of `gssm.compare.report`; `gssm.open_product` that of
`gssm.compare.opening`.
"""
