"""Each test in namespaces of its own, with the guests and networks of the network's tests."""

from tests.integration.network.conftest import guests, node, pytest_pyfunc_call

__all__ = ["guests", "node", "pytest_pyfunc_call"]
