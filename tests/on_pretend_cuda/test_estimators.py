from tests.test_estimators import *  # noqa: F403
