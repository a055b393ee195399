"""Measuring attempts: one worker process per trial, watched, bounded and killed as a group."""
