"""The device agent: birth, training, upload, reconnect; one to a board or many to a process."""
