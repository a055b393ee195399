"""HTTP: health, metrics and pages."""
