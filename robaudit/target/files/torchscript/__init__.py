"""TorchScript archives: their records, code and operators checked before anything of them runs."""
