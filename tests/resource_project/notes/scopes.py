READ, WRITE = "notes:read", "notes:write"
