"""Text files of integer-encoded rows: libsvm and libffm."""
