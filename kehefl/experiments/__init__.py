"""Whole experiments: a server with its devices, one run or many."""
