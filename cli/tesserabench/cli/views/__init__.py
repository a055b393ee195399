"""How the things of the contract look in a table and as CSV."""
