from tests.test_diffusion import *  # noqa: F403
