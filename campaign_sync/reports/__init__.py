"""The daily report: pages with numbers and pictures for people who send mailings."""
