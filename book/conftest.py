"""What ``pytest --nbval-lax book`` compares: numbers within their tolerances, words exactly."""

from functools import partial

from nbval.plugin import IPyNbCell

from tools.compare import differences


def pytest_itemcollected(item):
    """Give each cell that nbval collects the comparison of this book (``tools/compare.py``)."""
    if isinstance(item, IPyNbCell):
        item.compare_outputs = partial(compare_outputs, item)


def compare_outputs(item, new, stored):
    """Take the place of nbval's comparison: tell whether the outputs agree, and note where not."""
    item.comparison_traceback = differences(item.cell, new)
    return not item.comparison_traceback
