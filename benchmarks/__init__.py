"""
Benchmarks that compare shout with other servers that do the same.
"""
