"""`kehefl bench`: figures of kehefl beside the floor, what bare aiomqtt and numpy cost, in the same run."""
