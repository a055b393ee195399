"""Steps of the schema, oldest first; `store.migrate` walks them."""
