"""One page about a dataset and the runs on it, to look at and to listen to."""
