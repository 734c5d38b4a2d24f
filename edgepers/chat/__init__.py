"""Talk to the published model.

Each exchange is offered to the selector, and the owner's verdicts are learned in rounds.
"""
