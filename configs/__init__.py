"""Experiments as data: one YAML file per task family, read by ``mql.config.loading``."""
