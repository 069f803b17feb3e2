"""How the tests are shared out among workers: what shares a cluster, an API server or a node stays in one."""

import pytest
from xdist.scheduler import LoadScopeScheduling

_SHARING = ("tests/integration/", "tests/e2e/")


class FolderScheduling(LoadScopeScheduling):
    """Gives a worker whole folders of tests whose session fixtures are dear, and whole files of all others."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return file.rsplit("/", 1)[0] if file.startswith(_SHARING) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FolderScheduling:
    """Asked by xdist where tests run on more than one worker."""
    return FolderScheduling(config, log)
