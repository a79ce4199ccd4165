"""The rooms of the schema editor, each a layer on the one before."""
