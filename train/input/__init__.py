"""What a net is fed: augmented windows of the clips, in batches, the same for the same seed."""
