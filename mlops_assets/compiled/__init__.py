"""What is written in Cython, because it is asked for millions of times per second.

Each module does what a module in Python does as well, and gives the same. Where it is not there,
because no C compiler was when the project was installed, that one answers, more slowly.
"""
