"""CLIP, frozen: backbone, tower, attention, packed prompts, and what is computed once."""
