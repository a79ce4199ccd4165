"""Random sessions against the sandbox, bounded, with seeds; what differs is shrunk."""
