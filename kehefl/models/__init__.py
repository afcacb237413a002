"""What is trained: the Model protocol, the models that ship with kehefl, and how others are found by name."""
