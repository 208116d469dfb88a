"""Floor 1: the formulas of the theory, ordinary functions of numbers.

A formula takes numbers and returns a value together with its slope(s).  The numbers may be Python floats (lessons, the
tape), Numba scalars (`register_jitable` makes a formula callable from compiled loops) or any class that knows
``+ - * /`` and the few named functions of `numbers.py`.  Arrays are unknown here.

The variable of slopes is ``u = r^2 / 2``, because ``du = r . dr`` and the law of cosines,
``cos = (u_ij + u_ik - u_jk) / (r_ij r_ik)``, are then free of factors of two.
"""
