"""The releases that everything has to hold for."""

import pytest
from tests.unit.chart.cases import MATRIX, rendered
from tests.unit.chart.renders import Release


@pytest.fixture(params=MATRIX)
def release(request: pytest.FixtureRequest) -> Release:
    """Each case of the matrix."""
    return rendered(request.param)
