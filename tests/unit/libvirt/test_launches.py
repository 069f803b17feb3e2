"""What a daemon inherits of the container that starts it."""

import resource
from collections.abc import Iterator

import pytest

from berth_libvirt import launches


@pytest.fixture(autouse=True)
def few_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_containers_low_limit_of_files_is_no_limit_of_guests() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    launches.allow_files()
    soft, after = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert after == hard
    assert soft == (524288 if hard == resource.RLIM_INFINITY else min(hard, 524288)) > 256
