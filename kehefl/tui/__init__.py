"""The operator console: the only place that knows Textual. Start at `main.run_console` and `store.reduce`."""
