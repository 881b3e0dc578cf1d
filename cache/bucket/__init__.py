"""A cache in an S3 bucket: objects in place of files, a lease in place of a lock, copies to train from."""
