"""The full replace of one recipient list: gate, steps, proof."""
