"""
The C{shout} command as its user sees it: options, lines, messages.
"""
