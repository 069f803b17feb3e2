"""What steps of a build see of the machine is where to fetch from, and nothing else of its configuration."""

import configparser
from pathlib import Path

from berth_dev.buildah import pip_configuration


def test_steps_fetch_from_where_this_machine_does(tmp_path: Path) -> None:
    said = """\
global.index-url='https://mirror.example.com/simple'
global.cert='/home/somebody/ca.crt'
:env:.timeout='180'
:env:.find-links='/home/somebody/wheels'
install.user='true'
"""
    path = pip_configuration(said, tmp_path)
    parser = configparser.RawConfigParser()
    parser.read(path, encoding="utf-8")
    assert dict(parser["global"]) == {
        "index-url": "https://mirror.example.com/simple",
        "timeout": "180",
        "cert": "/etc/pki/tls/certs/ca-bundle.crt",
    }


def test_the_environment_wins_over_files(tmp_path: Path) -> None:
    path = pip_configuration(":env:.index-url='https://one.example'\nglobal.index-url='https://two.example'", tmp_path)
    assert "one.example" in path.read_text(encoding="utf-8")
    path = pip_configuration("global.index-url='https://two.example'\n:env:.index-url='https://one.example'", tmp_path)
    assert "one.example" in path.read_text(encoding="utf-8")
