"""What an access token may allow."""

READ, WRITE, ADMIN = "users:read", "users:write", "users:admin"
