"""Where nothing may be skipped, a skip fails."""

import subprocess
import sys
from pathlib import Path

import pytest

_SKIPS = {
    "marked": "import pytest\n\n@pytest.mark.skip(reason='because')\ndef test_it(): pass\n",
    "called": "import pytest\n\ndef test_it(): pytest.skip('because')\n",
    "module": "import pytest\npytest.skip('because', allow_module_level=True)\n",
}


def _run(tmp_path: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "test_x.py").write_text(text, encoding="utf-8")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tmp_path)]
    return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("text", _SKIPS.values(), ids=_SKIPS)
def test_a_skip_fails_and_says_why(tmp_path: Path, text: str) -> None:
    done = _run(tmp_path, text, "-p", "berth_dev.noskips")
    assert done.returncode not in {0, 5}
    assert "because" in done.stdout


def test_a_test_that_passes_and_one_that_is_expected_to_fail_are_left_alone(tmp_path: Path) -> None:
    text = "import pytest\n\ndef test_a(): pass\n\n@pytest.mark.xfail(strict=True)\ndef test_b(): assert False\n"
    assert _run(tmp_path, text, "-p", "berth_dev.noskips").returncode == 0
