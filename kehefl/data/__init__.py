"""What is trained on: data sets, folders of recordings, sensors and their recorder."""
