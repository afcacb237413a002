"""What kehefl's own processes use: CPU seconds, memory, temperature. Never figures of the whole host."""
