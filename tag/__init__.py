"""Recordings in, labels out: what was trained tags files, samples and long recordings; see `tag.tagger.Tagger`."""
