"""One file an attack, foldered by what the attacker may ask of the target."""
