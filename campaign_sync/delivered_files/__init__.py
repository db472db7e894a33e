"""Files that somebody delivers: a folder or an SFTP server, and CSV in them."""
