"""`mql bench`: how fast the parts are, each beside its peer or its limit in the same process. One file per part.

A part is a function ``measure(threads, sizes)`` that returns the ``results`` of ``mql bench PART --json``: figures by
name, in nested objects. Its ``Sizes`` say how large the problem is; tests pass tiny ones. The command has set the
thread count of PyTorch and numpy before; simulations and peers take the same number.
"""
