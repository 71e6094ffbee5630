from tests.test_training import *  # noqa: F403
