"""Bounds of figures, as benchmarks print them."""

import operator
import re

COMPARISONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, "=": operator.eq}


def holds(figure: str, limit: str) -> bool:
    """Tell whether a figure keeps its limit, such as ``<= 15``; one in words is no limit."""
    found = re.match(r"(<=|<|>=|=) ([\d.]+)", limit)
    if found is None:
        return True
    return COMPARISONS[found[1]](float(figure.replace(",", "")), float(found[2]))
