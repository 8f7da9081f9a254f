"""How attached functions are evaluated in a tower's forward pass."""
