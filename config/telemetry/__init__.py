"""What the operator sees of a request: one log line, its metrics and its trace."""
