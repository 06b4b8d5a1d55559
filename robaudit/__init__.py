"""robaudit: how easily is this model file fooled, and can the answer be trusted?"""

__version__ = "0.1.0"
