"""The commands; thin. Options in, a sentence and an exit status out."""
