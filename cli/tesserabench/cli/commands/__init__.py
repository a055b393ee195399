"""The commands of tbctl, a module for each noun."""
