"""An ordinary Django project with contrib apps and the admin, on config.dsql."""
