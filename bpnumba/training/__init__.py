"""Training: labelled frames in, weights of a potential out."""
