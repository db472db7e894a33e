"""`python -m campaign_sync` is `campaign-sync`."""

from campaign_sync.cli import main

main()
