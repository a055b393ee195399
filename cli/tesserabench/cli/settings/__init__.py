"""Settings of tbctl: flag, environment, project file, user file, built-in, each with its origin."""
