"""The test kit: contract suites, fakes and fixtures for those who extend Kedge."""

import sys

SUITES = ("blobs", "compute", "forge", "log_store", "runtime")

# Outside of pytest nobody reads assertions, and importing it would cost a tenth of a second.
if "pytest" in sys.modules:
    import pytest

    pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in SUITES))
