"""Files that the vendor delivers: their source (a folder or an SFTP server), and the decoder for CSV.

What the rows mean doesn't belong here: see `feedback` and `domain.feedback_rows`.
"""
