"""PyTorch: DADS, from replay to exported bundle."""
