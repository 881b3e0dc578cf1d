"""Windows of clips, cut from the stores' memory maps: where they begin, and what they show."""
