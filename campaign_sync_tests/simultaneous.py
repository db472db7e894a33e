"""Running the same code in several processes at the same moment."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack

_WHEN_STDIN_CLOSES = """
import sys
{imports}
print("ready", flush=True)
sys.stdin.read()
{action}
"""


def at_once(
    count: int, imports: str, action: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> list[str]:
    """Run `action`, lines of Python, in `count` processes as soon as all of them have run `imports`.

    Returns:
        The stderr of each process that failed.
    """
    command = [sys.executable, "-c", _WHEN_STDIN_CLOSES.format(imports=imports, action=action), *arguments]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
            for _ in range(count)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        errors = [process.communicate()[1] for process in processes]
        return [error for process, error in zip(processes, errors, strict=True) if process.returncode]
