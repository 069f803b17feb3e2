"""Commands and manifests that docs/install.md tells people to use: they are at least such that tools take them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.unit.chart.renders import PROJECT

PAGE = (PROJECT / "docs" / "install.md").read_text()
_STAND_IN = """#!/bin/sh
if [ "$1" = get ]; then
  echo customresourcedefinition.apiextensions.k8s.io/virtualmachines.berth.dev
  echo customresourcedefinition.apiextensions.k8s.io/others.example.com
  exit
fi
exec "$KUBECTL" --server=http://127.0.0.1:1 --request-timeout=5s "$@"
"""


def test_commands_that_remove_everything_are_refused_by_no_kubectl(tmp_path: Path) -> None:
    """With no server to ask, what kubectl says about its arguments comes before that it cannot connect."""
    commands = [line.partition("#")[0] for line in PAGE.splitlines() if line.startswith("kubectl delete ")]
    assert len(commands) >= 4
    kubectl = shutil.which("kubectl")
    assert kubectl is not None
    stand_in = tmp_path / "kubectl"
    stand_in.write_text(_STAND_IN)
    stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECTL": kubectl, "HOME": str(tmp_path)}
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert re.search(r"127\.0\.0\.1:1 was refused|dial tcp 127\.0\.0\.1:1", done.stderr), (command, done.stderr)
