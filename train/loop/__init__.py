"""What happens around the training steps of a fold: validation, resuming, and what is written on the way."""
