"""The command line says what is wrong with it."""

from pathlib import Path

import pytest

from berth_dev import __main__ as command_line
from berth_dev.errors import PartFailedError


def test_up_reads_every_option() -> None:
    arguments = command_line.parser().parse_args(["up", "--cluster", "x", "--nodes", "3", "--operator", "0"])
    assert (arguments.cluster, arguments.nodes, arguments.operator, arguments.agent) == ("x", 3, False, True)


@pytest.mark.parametrize("argv", [["up", "--agent", "yes"], ["up", "--nodes", "many"], ["fly"], []])
def test_bad_arguments_end_with_a_usage_message(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(argv)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_part_that_failed_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(40)), encoding="utf-8")
    message = str(PartFailedError("etcd", "has ended", log))
    assert "etcd: has ended" in message
    assert "line 39" in message
    assert "line 10\n" not in message
    assert str(log) in message


def test_there_is_somebody_for_every_command() -> None:
    (commands,) = (each for each in command_line.parser()._actions if each.choices)
    assert set(commands.choices or ()) == set(command_line._COMMANDS)
