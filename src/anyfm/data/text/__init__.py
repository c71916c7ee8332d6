"""Text files of integer-coded rows: libsvm and libffm."""
