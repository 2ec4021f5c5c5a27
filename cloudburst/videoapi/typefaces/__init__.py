"""Fonts: which one has the characters of a text, and what is drawn with it."""
