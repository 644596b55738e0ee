"""The networks in PyTorch, one module per paper."""
