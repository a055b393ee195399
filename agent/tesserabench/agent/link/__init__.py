"""Speaking with the collector: register, synchronise, upload. Nothing here measures or touches a device."""
