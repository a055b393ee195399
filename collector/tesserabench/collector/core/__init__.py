"""What happens: rules, state machines and decisions, on values and on what `store` gives."""
