"""Programs that are run to their end: a deadline on each, and their own words in the error."""

import subprocess
from collections.abc import Mapping, Sequence

from berth_dev.errors import CommandError

DEFAULT_TIMEOUT = 60.0


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it wrote.

    Args:
        argv: The argument list; no shell is involved.
        stdin: Text for its standard input, which is empty otherwise.
        timeout: Seconds after which it is killed.
        env: Its whole environment; this process's own where left out.
        check: Whether a non-zero exit status is an error.

    Raises:
        CommandError: The program is missing, ran out of time, or (with `check`) failed.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=None if env is None else dict(env),
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed: run dev/bootstrap.sh") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(argv)}: no end after {timeout:g} s") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing")[-2000:]
        raise CommandError(f"{' '.join(argv)}: exit status {done.returncode}: {said}")
    return done
