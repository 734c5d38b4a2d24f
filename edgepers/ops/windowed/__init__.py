"""The windowed kernels: entropy and embedding of a set from one read of its hidden states.

Three ops are faces of them.
"""

WINDOW = 16  # rows; the definition of the windowed entropy. Libraries with another number are refused at load
