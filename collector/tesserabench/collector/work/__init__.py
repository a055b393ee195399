"""What the collector does by itself, again and again: leases, schedules, gauges, detection."""
