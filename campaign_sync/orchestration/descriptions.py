"""How the pages of assets, checks, jobs, schedules and sensors are worded: for those who send mailings, in Markdown."""


def page(what: str, numbers: str, if_red: str) -> str:
    """What an asset or a job is, where its numbers come from, and what to do if it is red."""
    return f"{what}\n\n**Numbers:** {numbers}\n\n**If it is red:** {if_red}"


def rule(of: str, what: str, if_broken: str) -> str:
    """What a check demands of something with this title, and what to do if that doesn't hold."""
    return f"{of}: {what}\n\n**If it is red or yellow:** {if_broken}"
