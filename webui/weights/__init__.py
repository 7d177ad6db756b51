"""Files in, networks out: checkpoint files, families, key rules, hashes."""
