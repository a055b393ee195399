"""Timing: calibration, warm-up, the stop rule and the statistics of what was sampled."""
