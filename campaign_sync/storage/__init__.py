"""The tables the product owns, and their migrations."""
