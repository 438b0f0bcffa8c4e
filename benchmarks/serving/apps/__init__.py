"""What runs inside of a server's own process and environment; nothing of it is imported by us."""
