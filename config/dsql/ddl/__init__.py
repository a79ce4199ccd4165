"""The schema editor's parts; schema.py puts them together."""
