"""The console script `campaign-sync`, also as `python -m campaign_sync`."""

import signal

from campaign_sync.garbage import kept_for_ever


def main() -> None:
    """Run the command line; Ctrl-C while it is loaded ends the process at once, without a traceback."""
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # not where a shell has its background jobs ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with kept_for_ever():
        from campaign_sync.cli import main as run  # takes half a second

    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    run()


if __name__ == "__main__":
    main()
