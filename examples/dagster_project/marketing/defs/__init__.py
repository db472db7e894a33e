"""The definitions of the project, each file or folder loaded by itself."""
