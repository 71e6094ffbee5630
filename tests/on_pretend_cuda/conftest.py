"""The tests in this folder run on the pretend device, which ``device="auto"`` then takes."""

import pytest

from tests.pretend_cuda import PretendCuda


@pytest.fixture(autouse=True)
def cuda():
    with PretendCuda() as device:
        yield device
