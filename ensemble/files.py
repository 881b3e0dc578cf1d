from ensemble.description import read_json, write_json  # noqa: F401  # untracked, until train/ no longer imports it
