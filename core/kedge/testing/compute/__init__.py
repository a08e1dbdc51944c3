"""What every compute backend promises, as tests."""

from kedge.testing.compute.suite import ComputeSuite

__all__ = ["ComputeSuite"]
