"""Benchmarks that asv keeps from commit to commit; see ``make bench-history``."""

import sys
from pathlib import Path

# asv imports this folder alone, and the modules that it measures with lie beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))
