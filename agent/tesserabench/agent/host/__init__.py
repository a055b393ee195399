"""What the agent knows of its machine: inventory, state of the devices, what limits their clocks."""
