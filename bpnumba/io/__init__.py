"""Files: what is written to disk and read back, checked before use."""
