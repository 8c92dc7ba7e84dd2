"""What it means: arrays in, records out. Only numpy, scipy and scikit-learn."""
