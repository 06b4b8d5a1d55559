"""robaudit: how easily is this model file fooled, and can the answer be trusted?"""

__version__ = "0.1.0"

METHODS = 1
"""Version of what an audit does: which samples it draws, how attacks search, what the judge accepts. Raise it with a
change after which the same audit may come out differently: audits with another number are not compared."""
