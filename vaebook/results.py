"""Numbers of a run, recorded by name, so that the text around it can show them."""

from __future__ import annotations

from vaebook._checks import fail


class _Recorded:
    """What one call recorded; its text is what a notebook stores and compares."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def __repr__(self) -> str:
        width = max(map(len, self.values))
        return "\n".join(f"{name:<{width}} = {value}" for name, value in self.values.items())


def record(**values: str | int) -> None:
    """Show values, and record them under their names for the text of the book.

    The text shows a recorded value with the role ``{result}`name```, and that of another page with
    ``{result}`page/name```. What is recorded is text, because the rounding is the author's choice:
    ``record(test_nats=f"{nats:.1f}")``.

    Recording is no part of a page of the book: it stands in a cell of its own, tagged
    ``remove-cell``, whose metadata says how far each value may move from run to run.

    Parameters
    ----------
    **values
        Integers, or text as it is to stand in the sentence.

    Raises
    ------
    ValueError
        If there is nothing to record, or a value is neither an integer nor non-empty text.
    """
    if not values:
        fail("values", "at least one name=value", "none")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            fail(name, 'an integer, or rounded text such as f"{x:.1f}"', repr(value))
    from IPython.display import display  # only notebooks need it

    recorded = _Recorded({name: str(value) for name, value in values.items()})
    # MyST-NB hands everything marked "scrapbook" to the build, cached outputs included.
    mark = {"name": ", ".join(recorded.values), "results": recorded.values}
    display(recorded, metadata={"scrapbook": mark})
