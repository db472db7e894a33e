"""What the product tells about itself to those who watch over it: spans, counts and levels; names and codes only."""
