"""What a net is fed: windows cut from the stores' memory maps, in batches, the same for the same seed."""
