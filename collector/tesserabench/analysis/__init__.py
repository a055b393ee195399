"""Statistics on arrays, as a library: the gate, whole comparisons, and the noise of a series' history.

Nothing here knows a database, a network or the wire. Values go in, frozen dataclasses come out.
"""
