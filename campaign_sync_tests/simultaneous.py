"""Several processes that do the same at the same moment."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack

_AT_A_SIGN = """
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
        What those that failed wrote to stderr.
    """
    command = [sys.executable, "-c", _AT_A_SIGN.format(imports=imports, action=action), *arguments]
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
        told = [process.communicate()[1] for process in processes]
        return [text for process, text in zip(processes, told, strict=True) if process.returncode]
