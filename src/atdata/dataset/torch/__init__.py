"""A dataset as a PyTorch DataLoader: workers, tensors, state."""
