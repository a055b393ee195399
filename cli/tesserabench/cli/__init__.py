"""tbctl: triggers runs, waits for verdicts, reads results and keeps baselines and regressions."""
