"""quantgate: is the optimised model worse than the one it replaces, or only different by noise?"""

__version__ = "0.1.0"
