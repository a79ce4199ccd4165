"""What Aurora DSQL does, as data (``corpus/``), and how a cluster is asked whether it does."""
