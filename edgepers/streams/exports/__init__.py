"""Exports of chat programs: a file a program, with the one `Form` that reads it."""
