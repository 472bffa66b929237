"""
Tests that take long, and are not among those that trial finds by itself.
"""
