"""The tests in this folder run on the pretend device, which ``device="auto"`` then takes."""

import pytest

from tests.pretend_cuda import PretendCuda

TRAINING = {"fit", "fit_gan"}
ELSEWHERE = {  # they start processes of their own, or only take long
    "test_an_ended_run_resumes_bit_for_bit",
    "test_a_linear_vae_reaches_the_maximum_likelihood_of_ppca",
}


@pytest.fixture(autouse=True)
def cuda():
    with PretendCuda() as device:
        yield device


def pytest_collection_modifyitems(config, items):
    """Of the tests that other files define, keep those that train: the others use no device."""
    here = [item for item in items if item.path.parent == config.rootpath / "tests/on_pretend_cuda"]
    dropped = [
        item
        for item in here
        if item.originalname in ELSEWHERE
        or (is_elsewhere(item.function) and not reaches(item.function, TRAINING))
    ]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


def is_elsewhere(function):
    """Tell whether a test is taken over from another file."""
    return "on_pretend_cuda" not in function.__code__.co_filename


def reaches(function, names, seen=()):
    """Tell whether a function, or one of its file that it calls, uses one of `names`."""
    codes, used = [function.__code__], set()
    while codes:
        code = codes.pop()
        used |= set(code.co_names)
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    if used & names:
        return True
    own = {name: function.__globals__.get(name) for name in used - set(seen)}
    return any(
        reaches(other, names, (*seen, *used))
        for other in own.values()
        if getattr(other, "__module__", None) == function.__module__ and hasattr(other, "__code__")
    )
