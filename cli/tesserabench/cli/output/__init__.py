"""What tbctl writes: tables for people; JSON, YAML and CSV for programs."""
