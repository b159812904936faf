"""What each type of note does, by what it is about (MODEL 3, kind 20). `statements/note.py` has the table of types.

A rule takes the book, the entry and its body, refuses or acts, and returns what the note is about: its topic's end.
"""
