"""Tests of atdata; they mirror the package."""

import pytest

# The suites of atdata.testing say what they found, like the tests here.
pytest.register_assert_rewrite("atdata.testing")
