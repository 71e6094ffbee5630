from tests.test_gan import *  # noqa: F403
