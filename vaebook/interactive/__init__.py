"""Live figures: a reader moves something, and the figure follows.

Each figure has a module of its own, a function in it of the same name, and beside it an ES module
with the figure's mathematics and its looks. What the figures share is in ``live.js``.
"""
