from tests.test_autoencoder import *  # noqa: F403
