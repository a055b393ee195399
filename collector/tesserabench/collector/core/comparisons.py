"""Comparisons as they are stored and shown: those that `tbctl` makes from files are the same."""

from tesserabench.report.comparison_json import comparison_json, entry_json, key_of_entry

__all__ = ["comparison_json", "entry_json", "key_of_entry"]
