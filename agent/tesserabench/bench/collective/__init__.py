"""Collectives over several devices of one host: one process for each rank, never threads.

The process that measures is rank 0. It starts the other ranks (`rank`), gives them their device and the group's id over
pipes (`group`), and counts launches on a board in shared memory (`board`) that the others follow without being asked.
What moves the data is a transport: `nccl`, or the tests' own. A rank that dies or stops following fails the case, never
the process (`supervision`); what hangs on the device itself is ended by whoever watches this process.
"""
