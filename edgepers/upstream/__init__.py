"""Servers that answer in place of this one: they are given what was learned, and asked what they make of it."""
