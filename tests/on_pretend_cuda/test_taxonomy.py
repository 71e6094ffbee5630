from tests.test_taxonomy import *  # noqa: F403
