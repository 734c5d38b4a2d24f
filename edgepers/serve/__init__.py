"""Serve the personal model to the programs that people talk to already, and learn from what is said there.

OpenAI's interface, or a proxy before a server that has one. Needs the extra `serve`.
"""
