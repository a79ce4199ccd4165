"""Popular Django apps on config.dsql and on plain PostgreSQL: installed, used, removed."""
