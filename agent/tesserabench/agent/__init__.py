"""The daemon `tesserabench-agent`: takes work from a collector, measures on this host, and delivers what it found.

Rooms: `link` speaks with the collector, `spool` keeps every record on disk until it is committed there, `runner`
starts the processes that measure, `host` knows the machine. `app` joins them.
"""

from importlib.metadata import version

VERSION = version("tesserabench")
"""Version of the installed distribution."""
