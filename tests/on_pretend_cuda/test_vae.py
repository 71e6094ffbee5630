from tests.test_vae import *  # noqa: F403
