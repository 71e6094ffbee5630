from tests.test_autoregressive import *  # noqa: F403
