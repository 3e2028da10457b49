"""Physical checks of a map that need no station: rain, seasons, fields, seams, orbits.

`gssm.check` is the function of `gssm.checks.report`.
"""
