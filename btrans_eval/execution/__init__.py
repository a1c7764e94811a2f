"""Programs that models write, run where they cannot harm and cannot say how they did.

A program (`player`) and the tests of its row (`judge`) run in two sandboxes that share nothing but
two pipes: the judge calls the program's functions, gets values back, and compares them itself.
"""
