"""What a method implements: Method, Adapter, and the weights that it may start from."""
